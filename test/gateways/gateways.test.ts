import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect as connectHttp2 } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { type Clients, connect } from "../../testkit/connect.ts";
import { describeWithGateway } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import { type Gateway, type GatewayName, type GatewayOptions, startGateway } from "../../testkit/gateway.ts";
import { type ServerProcess, startServer } from "../../testkit/server-process.ts";
import { startUpstream, type Upstream } from "./upstream.ts";

const IN_FLIGHT = 100;
const IDENTITY = ["key-id", "owner", "scopes", "environment", "secret-version"].map((name) => `x-claviger-${name}`);

let folder: string;
let server: ServerProcess;
let admin: Clients;
let upstream: Upstream;
// An owner has a limited number of keys.
let owners = 0;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "claviger-gateways-"));
  const policies = join(folder, "policies.json");
  writeFileSync(policies, JSON.stringify({ "orders-read": { scopes: ["orders:read"] } }));
  const env = {
    CLAVIGER_DATA_DIR: folder,
    CLAVIGER_LOG_LEVEL: "warn",
    CLAVIGER_VERIFY_ACCESS: "open",
    CLAVIGER_AUTHZ_POLICIES: policies,
  };
  [server, upstream] = await Promise.all([startServer({ env }), startUpstream()]);
  admin = connect(server.url, readFileSync(join(folder, "admin-key"), "utf8").trim());
});

afterAll(async () => {
  await upstream?.close();
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** The result of `ask` while the server does not answer. */
async function whileStopped<T>(ask: () => Promise<T>): Promise<T> {
  await server.kill("SIGSTOP");
  return await ask().finally(() => server.kill("SIGCONT"));
}

async function createKey(options: { scopes?: string[]; limits?: { requestsPerDay: number } } = {}) {
  const { scopes = ["orders:read"], limits } = options;
  const owner = `ada-${++owners}`;
  const key = { owner, displayName: "gateway", scopes, ...(limits && { limits }) };
  const created = await admin.keys.createKey(key);
  return { id: created.key?.id ?? "", owner, secret: created.secret };
}

type Started = Pick<GatewayOptions, "file" | "change">;

async function start(gateway: GatewayName, options: Started = {}): Promise<Gateway> {
  const command = inject(gateway);
  if (command === undefined) throw new Error(`${gateway} is absent; the suite should have been left out`);
  const places = {
    claviger: server.port,
    authz: server.port,
    service: upstream.httpPort,
    grpcService: upstream.grpcPort,
  };
  return await startGateway({ command, gateway, places, ...options });
}

async function get(url: string, secret?: string, headers: Record<string, string> = {}) {
  const authorization = secret === undefined ? {} : { authorization: `Bearer ${secret}` };
  const response = await fetch(`${url}/orders/7?secret=no`, { headers: { ...authorization, ...headers } });
  return { status: response.status, headers: response.headers, body: await response.text() };
}

/** The number of requests that began after the revocation had returned, and of those that were let in. */
async function revokeUnderLoad(url: string) {
  const { id, secret } = await createKey();
  expect(await get(url, secret)).toMatchObject({ status: 200 });
  const counts = { before: 0, later: 0, letIn: 0 };
  let isRevoked = false;
  const client = async () => {
    for (let wasLater = false; !wasLater; ) {
      wasLater = isRevoked;
      const { status } = await get(url, secret);
      if (wasLater) counts.later++;
      else if (status === 200) counts.before++;
      if (wasLater && status === 200) counts.letIn++;
    }
  };
  const clients = Promise.all(Array.from({ length: IN_FLIGHT }, client));
  const revoke = async () => {
    await eventually(() => expect(counts.before).toBeGreaterThan(IN_FLIGHT / 2));
    await admin.keys.revokeKey({ keyId: id });
  };
  await Promise.all([
    clients,
    revoke().finally(() => {
      isRevoked = true;
    }),
  ]);
  return counts;
}

const KINDS: readonly { readonly gateway: GatewayName; readonly file?: string }[] = [
  { gateway: "envoy" },
  { gateway: "envoy", file: "envoy-http.yaml" },
  { gateway: "nginx" },
  { gateway: "haproxy" },
  { gateway: "caddy" },
];

for (const { gateway, file } of KINDS) {
  describeWithGateway(gateway, `Behind ${gateway}${file ? ` with ${file}` : ""}`, () => {
    let running: Gateway;
    beforeAll(async () => {
      running = await start(gateway, file === undefined ? {} : { file });
    });
    afterAll(() => running?.stop());

    it("a valid key reaches the service as an identity, without its secret", async () => {
      const { id, owner, secret } = await createKey();
      for (const credential of [{ authorization: `Bearer ${secret}` }, { "x-api-key": secret }]) {
        const { status } = await get(running.url, undefined, credential);
        expect(status).toBe(200);
        const seen = upstream.last();
        expect(seen).toMatchObject({ "x-claviger-key-id": id, "x-claviger-owner": owner });
        for (const name of IDENTITY) expect(seen[name]).toBeTruthy();
        expect(JSON.stringify(seen)).not.toContain(secret);
      }
    });

    it("identity headers that a client forges reach neither the service nor the decision", async () => {
      const { id, secret } = await createKey();
      const forged = Object.fromEntries(IDENTITY.map((name) => [name, "forged"]));
      expect(await get(running.url, undefined, forged)).toMatchObject({ status: 401 });
      expect(await get(running.url, secret, forged)).toMatchObject({ status: 200 });
      expect(upstream.last()["x-claviger-key-id"]).toBe(id);
      for (const name of IDENTITY) expect(upstream.last()[name]).not.toContain("forged");
    });

    it("each refusal has its status", async () => {
      const missing = await get(running.url);
      expect(missing.status).toBe(401);
      expect(missing.headers.get("www-authenticate")).toContain("Bearer");
      expect(await get(running.url, "unknown")).toMatchObject({ status: 401 });
      const other = await createKey({ scopes: ["orders:write"] });
      expect(await get(running.url, other.secret)).toMatchObject({ status: 403 });
    });

    it("a used-up limit is 429 with retry-after", async () => {
      const { secret } = await createKey({ limits: { requestsPerDay: 1 } });
      expect(await get(running.url, secret)).toMatchObject({ status: 200 });
      const { status, headers } = await get(running.url, secret);
      expect(status).toBe(429);
      expect(Number(headers.get("retry-after"))).toBeGreaterThan(0);
    });

    it("no request passes that began after RevokeKey returned, with 100 requests in flight", async () => {
      const { later, letIn } = await revokeUnderLoad(running.url);
      expect(later).toBe(IN_FLIGHT);
      expect(letIn).toBe(0);
    });

    it("a server that does not answer is 503, and never lets a request in", async () => {
      const { secret } = await createKey();
      expect(await whileStopped(() => get(running.url, secret))).toMatchObject({ status: 503 });
      await eventually(async () => expect(await get(running.url, secret)).toMatchObject({ status: 200 }));
    });
  });
}

/** nginx that may keep answers; with `ignores`, also those that say `no-store`. */
function keeping(ignores: boolean): (text: string) => string {
  const keep = "proxy_cache kept; proxy_cache_key $http_authorization; proxy_cache_valid 200 1m;";
  return (text) =>
    text
      .replace("http {", "http { proxy_cache_path kept keys_zone=kept:1m;")
      .replace("proxy_cache off;", ignores ? `${keep} proxy_ignore_headers Cache-Control;` : keep);
}

describeWithGateway("nginx", "Behind nginx with proxy_cache", () => {
  it("no revoked key passes, since no answer may be stored", async () => {
    const gateway = await start("nginx", { change: keeping(false) });
    try {
      expect(await revokeUnderLoad(gateway.url)).toMatchObject({ later: IN_FLIGHT, letIn: 0 });
    } finally {
      await gateway.stop();
    }
  });

  it("control: a gateway that keeps answers all the same lets a revoked key in", async () => {
    const gateway = await start("nginx", { change: keeping(true) });
    try {
      const { letIn } = await revokeUnderLoad(gateway.url);
      expect(letIn).toBeGreaterThan(0);
    } finally {
      await gateway.stop();
    }
  });
});

/** The `grpc-status` of an empty call, and its headers. */
async function callGrpc(url: string, secret?: string) {
  const session = connectHttp2(url);
  try {
    const stream = session.request({
      ":method": "POST",
      ":path": "/orders.v1.Orders/Get",
      "content-type": "application/grpc",
      te: "trailers",
      ...(secret !== undefined && { authorization: `Bearer ${secret}` }),
    });
    return await new Promise<{ status: number; retryAfter: unknown }>((resolve, reject) => {
      stream.on("error", reject);
      stream.on("response", (headers) =>
        resolve({ status: Number(headers["grpc-status"]), retryAfter: headers["retry-after"] }),
      );
      stream.end(Buffer.alloc(5));
      stream.resume();
    });
  } finally {
    session.destroy();
  }
}

describeWithGateway("envoy", "gRPC behind Envoy", () => {
  let gateway: Gateway;
  beforeAll(async () => {
    gateway = await start("envoy");
  });
  afterAll(() => gateway?.stop());

  it("each refusal has its status, and a limit is RESOURCE_EXHAUSTED", async () => {
    const { secret } = await createKey();
    expect(await callGrpc(gateway.url, secret)).toMatchObject({ status: 0 });
    expect(await callGrpc(gateway.url)).toMatchObject({ status: 16 });
    const other = await createKey({ scopes: ["orders:write"] });
    expect(await callGrpc(gateway.url, other.secret)).toMatchObject({ status: 7 });
    const limited = await createKey({ limits: { requestsPerDay: 1 } });
    expect(await callGrpc(gateway.url, limited.secret)).toMatchObject({ status: 0 });
    expect(await callGrpc(gateway.url, limited.secret)).toEqual({ status: 8, retryAfter: expect.any(String) });
    expect(await whileStopped(() => callGrpc(gateway.url, secret))).toMatchObject({ status: 14 });
  });

  it("control: without status_on_error, what could not be decided looks like a refusal", async () => {
    const change = (text: string) => text.replace(/status_on_error:.*/, "");
    const other = await start("envoy", { change });
    try {
      const { secret } = await createKey();
      expect(await whileStopped(() => get(other.url, secret))).toMatchObject({ status: 403 });
    } finally {
      await other.stop();
    }
  });
});
