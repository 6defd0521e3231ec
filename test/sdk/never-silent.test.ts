import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer as createHttpServer, type Server as HttpServer } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import { type AddressInfo, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RefusalBody, withKey } from "../../src/sdk/http/index.ts";
import { createVerifier, type VerifierOptions, type VerifierWarning } from "../../src/sdk/index.ts";
import { startClaviger, type TestClaviger } from "../../testkit/claviger.ts";
import { eventually } from "../../testkit/eventually.ts";
import { freePort } from "../../testkit/free-port.ts";
import { makeKey } from "../rpc/make-key.ts";
import { listen } from "./http-servers.ts";

let claviger: TestClaviger;
let wrong: Record<"plain" | "other" | "closing", number>;
let servers: { close(): unknown; closeAllConnections?(): void }[];
let unscoped: string;
let expired: string;
let folder: string;

beforeAll(async () => {
  claviger = await startClaviger("embedded");
  unscoped = (await makeKey(claviger.admin, { owner: "service" })).secret;
  const made = await makeKey(claviger.admin, { owner: "late", scopes: ["claviger:verify"] });
  await claviger.admin.keys.revokeKey({ keyId: made.id });
  expired = made.secret;
  folder = await mkdtemp(join(tmpdir(), "claviger-token-"));
  const plain = createHttpServer((_, response) => response.end("a page"));
  const other = createHttp2Server((_, response) => {
    response.statusCode = 404;
    response.end();
  });
  const closing = createServer((socket) => socket.once("data", () => socket.end()));
  servers = [plain, other, closing];
  wrong = { plain: await portOf(plain), other: await portOf(other), closing: await portOf(closing) };
});
afterAll(async () => {
  for (const server of servers) {
    server.closeAllConnections?.();
    server.close();
  }
  await rm(folder, { recursive: true });
  await claviger.close();
});

async function portOf(server: HttpServer | Server | ReturnType<typeof createHttp2Server>): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

type SetUp = () => VerifierOptions | Promise<VerifierOptions>;
const at = (port: number, scheme = "http"): VerifierOptions => ({
  url: `${scheme}://127.0.0.1:${port}`,
  token: claviger.adminToken,
});
const as = (token: string): VerifierOptions => ({ url: claviger.url, token });

const PERMANENT: [string, { readonly setUp: SetUp; readonly code: string; readonly says: RegExp }][] = [
  ["a text that is not a key", { setUp: () => as("clv_live_typo"), code: "TOKEN_REFUSED", says: /\(MALFORMED\)/ }],
  ["a key that was revoked", { setUp: () => as(expired), code: "TOKEN_REFUSED", says: /\(REVOKED\)/ }],
  ["a key without the scope", { setUp: () => as(unscoped), code: "TOKEN_LACKS_SCOPE", says: /claviger:verify/ }],
  [
    "a function as key source that throws",
    {
      setUp: () => ({ url: claviger.url, token: () => Promise.reject(new Error("no vault")) }),
      ...{ code: "TOKEN_MISSING", says: /function that returns the key failed/ },
    },
  ],
  [
    "an unknown host name",
    {
      setUp: () => ({ url: "http://claviger.invalid:4640", token: claviger.adminToken }),
      ...{ code: "HOST_NOT_FOUND", says: /claviger\.invalid/ },
    },
  ],
  [
    "TLS to a port without TLS",
    { setUp: () => at(Number(new URL(claviger.url).port), "https"), code: "NO_TLS", says: /Write http:/ },
  ],
  ["a web server of HTTP/1", { setUp: () => at(wrong.plain), code: "NOT_A_SERVER", says: /forward HTTP\/2/ }],
  ["a web server of HTTP/2", { setUp: () => at(wrong.other), code: "NOT_A_SERVER", says: /is not a Claviger server/ }],
];
const TRANSIENT: typeof PERMANENT = [
  [
    "a port where nothing listens",
    { setUp: async () => at(await freePort()), code: "SERVER_UNREACHABLE", says: /ECONNREFUSED/ },
  ],
  [
    "a port that closes connections, as a TLS port does",
    { setUp: () => at(wrong.closing), code: "SERVER_UNREACHABLE", says: /write https:/ },
  ],
];

/** What a request to a service behind that verifier gets. */
async function through(verifier: ReturnType<typeof createVerifier>) {
  const server = await listen(
    withKey(verifier, (_, response) => void response.end("in")),
    {},
  );
  const response = await fetch(server.url, { headers: { "x-api-key": unscoped } });
  const { reason, message } = (await response.json()) as RefusalBody;
  await server.close();
  return { status: response.status, retryAfter: response.headers.get("retry-after"), reason, message };
}

describe.each([
  ["permanent", PERMANENT],
  ["transient", TRANSIENT],
] as const)("with a %s cause", (kind, cases) => {
  it.each(cases)("warns once about %s, with the cause, and callers get the same", async (_, { setUp, code, says }) => {
    const told: VerifierWarning[] = [];
    const verifier = createVerifier({
      ...(await setUp()),
      ...{ timeoutMs: 3000, onWarning: (warning: VerifierWarning) => void told.push(warning) },
    });
    await eventually(() => expect(told).toHaveLength(1));
    const isPermanent = kind === "permanent";
    const answer = await through(verifier);
    expect(answer).toMatchObject({ status: 503, message: expect.stringContaining("says nothing about") });
    expect([answer.reason, answer.retryAfter]).toEqual(
      isPermanent ? ["VERIFIER_MISCONFIGURED", null] : ["SERVER_UNREACHABLE", "1"],
    );
    if (isPermanent) expect(answer.message).not.toMatch(/retry/i);
    const error = await verifier.ready({ timeoutMs: isPermanent ? 60_000 : 3000 }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ConnectError);
    expect(String(error)).toMatch(says);
    expect(String(error).includes("not ready within 3000 ms")).toBe(!isPermanent);
    expect(told).toMatchObject([{ code: `CLAVIGER_${code}`, message: expect.stringMatching(says) }]);
    await verifier.close();
  });
});

it("a verifier without onWarning warns by the process", async () => {
  const heard: Error[] = [];
  const hear = (warning: Error) => void heard.push(warning);
  process.on("warning", hear);
  const verifier = createVerifier(as("clv_live_typo"));
  await eventually(() => expect(heard).toMatchObject([{ name: "ClavigerWarning", code: "CLAVIGER_TOKEN_REFUSED" }]));
  await verifier.close();
  process.off("warning", hear);
});

it("a verifier with the right set-up gives no warning and is ready", async () => {
  const told: VerifierWarning[] = [];
  const verifier = createVerifier({ ...as(claviger.adminToken), onWarning: (warning) => void told.push(warning) });
  await verifier.ready();
  await eventually(() => expect(verifier.fresh).toBe(true));
  await verifier.ready({ timeoutMs: 1 });
  await verifier.close();
  expect(told).toEqual([]);
  await expect(verifier.ready()).rejects.toMatchObject({ code: Code.Unavailable });
});

it("the server reports when the verifier's key expires, and the verifier warns of it", async () => {
  const told: VerifierWarning[] = [];
  const ttl = { seconds: 2n * 86_400n };
  const { key, secret } = await makeKey(claviger.admin, { owner: "short", scopes: ["claviger:verify"], ttl });
  const verifier = createVerifier({ ...as(secret), onWarning: (warning) => void told.push(warning) });
  await eventually(() => expect(told).toMatchObject([{ code: "CLAVIGER_TOKEN_ENDS" }]));
  expect(told[0]?.message).toContain("in less than 3 days");
  expect(verifier.tokenExpireTime?.getTime()).toBe(
    Number(key.expireTime?.seconds) * 1000 + millis(key.expireTime?.nanos),
  );
  await verifier.close();
});

const millis = (nanos = 0) => Math.floor(nanos / 1e6);

describe("createVerifier without a token", () => {
  const names = ["CLAVIGER_URL", "CLAVIGER_TOKEN", "CLAVIGER_TOKEN_FILE"] as const;
  function withEnvironment<Value>(values: Partial<Record<(typeof names)[number], string>>, work: () => Value): Value {
    for (const name of names) process.env[name] = values[name] ?? "";
    try {
      return work();
    } finally {
      for (const name of names) delete process.env[name];
    }
  }

  it("reads the file that CLAVIGER_TOKEN_FILE names, and follows it", async () => {
    const file = join(folder, "token");
    await writeFile(file, "clv_live_typo\n");
    const told: VerifierWarning[] = [];
    const verifier = withEnvironment({ CLAVIGER_URL: claviger.url, CLAVIGER_TOKEN_FILE: file }, () =>
      createVerifier({ onWarning: (warning) => void told.push(warning) }),
    );
    await eventually(() => expect(told).toMatchObject([{ code: "CLAVIGER_TOKEN_REFUSED" }]));
    await writeFile(file, `${claviger.adminToken}\n`);
    await eventually(() => expect(verifier.fresh).toBe(true), { withinMs: 30_000 });
    await verifier.close();
  });

  it("reports once that the file is missing", async () => {
    const told: VerifierWarning[] = [];
    const verifier = withEnvironment({ CLAVIGER_URL: claviger.url, CLAVIGER_TOKEN_FILE: join(folder, "none") }, () =>
      createVerifier({ onWarning: (warning) => void told.push(warning) }),
    );
    await expect(verifier.ready({ timeoutMs: 60_000 })).rejects.toThrow(/none cannot be read \(ENOENT\)/);
    expect(told).toMatchObject([{ code: "CLAVIGER_TOKEN_MISSING", message: expect.stringMatching(/\(ENOENT\)/) }]);
    await verifier.close();
  });

  it("rejects two tokens, and none", () => {
    const both = { CLAVIGER_TOKEN: "a", CLAVIGER_TOKEN_FILE: "b" };
    expect(() => withEnvironment(both, () => createVerifier())).toThrow(/are both set\. Unset one/);
    expect(() => withEnvironment({}, () => createVerifier())).toThrow(/set CLAVIGER_TOKEN or CLAVIGER_TOKEN_FILE/);
  });
});
