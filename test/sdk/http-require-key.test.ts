import { createServer as createHttpServer, request as httpRequest } from "node:http";
import { connect, createServer, type Http2ServerRequest, type Http2ServerResponse } from "node:http2";
import type { AddressInfo } from "node:net";
import { Code, ConnectError } from "@connectrpc/connect";
import express from "express";
import fastify, { type FastifyRequest } from "fastify";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import * as fastifyKeys from "../../src/sdk/fastify/index.ts";
import { principalOf, requireKey, withKey } from "../../src/sdk/http/index.ts";
import { FakeVerifier } from "../../src/sdk/testing/fake-verifier.ts";
import { type HttpServer, type Options, SERVERS } from "./http-servers.ts";

const bearer = (secret: string) => ({ authorization: `Bearer ${secret}` });

describe.each(Object.keys(SERVERS))("a service on %s that requires keys", (framework) => {
  let verifier: FakeVerifier;
  let server: HttpServer;

  beforeEach(() => {
    verifier = new FakeVerifier();
  });
  afterEach(() => server.close());

  async function start(options?: Options): Promise<void> {
    server = (await SERVERS[framework]?.(verifier, options)) as HttpServer;
  }

  async function get(headers: Record<string, string>) {
    const response = await fetch(server.url, { headers });
    const text = await response.text();
    const body: unknown = response.headers.get("content-type")?.startsWith("application/json")
      ? JSON.parse(text)
      : text;
    const { status } = response;
    return {
      status,
      body,
      challenge: response.headers.get("www-authenticate"),
      retryAfter: response.headers.get("retry-after"),
      retires: response.headers.get("claviger-secret-retires"),
    };
  }

  test("passes the principal to the handler, and removes the key", async () => {
    await start({});
    const secret = verifier.addKey("alice");
    for (const headers of [bearer(secret), { "X-API-Key": secret }, { ...bearer(secret), "x-api-key": secret }]) {
      expect(await get({ ...headers, other: "stays" })).toMatchObject({ status: 200, body: "alice" });
      expect(server.seen.headers).toContain("stays");
      expect(server.seen.headers).not.toContain(secret);
    }
  });

  test("control: without it, the handler sees the key", async () => {
    await start();
    await get(bearer("a-secret"));
    expect(server.seen.headers).toContain("a-secret");
  });

  test("verifies with the scopes, the method and the address of its options, or the peer's address", async () => {
    await start({ scopes: ["orders:read"], method: "/shop/list" });
    const secret = verifier.addKey("alice", { scopes: ["orders:*"], address: "127.0.0.1" });
    expect(await get(bearer(secret))).toMatchObject({ status: 200 });
    expect(verifier.asked.at(-1)?.question).toEqual({
      scopes: ["orders:read"],
      environment: "live",
      method: "/shop/list",
      clientIp: "127.0.0.1",
    });
    await server.close();
    await start({ clientIp: () => "192.0.2.7" });
    expect(await get(bearer(secret))).toMatchObject({ status: 403, body: { verdict: "ADDRESS_DENIED" } });
  });

  test("lets live keys in, test keys if its options say so, and names the option", async () => {
    const [live, trial] = [verifier.addKey("alice"), verifier.addKey("bob", { environment: "test" })];
    const refused = (name: string) => ({
      ...{ status: 403, challenge: null },
      body: { verdict: "ENVIRONMENT_DENIED", metadata: { environment: name }, message: /option environment/ },
    });
    for (const [options, forLive, forTrial] of [
      [{}, { status: 200 }, refused("test")],
      [{ environment: "live" }, { status: 200 }, refused("test")],
      [{ environment: "test" }, refused("live"), { status: 200 }],
      [{ environment: "any" }, { status: 200 }, { status: 200 }],
    ] as const) {
      await start(options);
      for (const [secret, expected] of [
        [live, forLive],
        [trial, forTrial],
      ] as const) {
        const answer = await get(bearer(secret));
        expect(answer).toMatchObject(
          "body" in expected
            ? { ...expected, body: { ...expected.body, message: expect.stringMatching(expected.body.message) } }
            : expected,
        );
      }
      await server.close();
    }
    await start({});
  });

  test("answers 401 with a challenge without a key, with a bad key, and with two keys", async () => {
    await start({});
    expect(await get({})).toMatchObject({
      status: 401,
      challenge: "Bearer",
      body: { code: "unauthenticated", reason: "CREDENTIAL_MISSING", metadata: {} },
    });
    expect(await get(bearer("clv_live_typo"))).toMatchObject({
      status: 401,
      challenge: 'Bearer error="invalid_token"',
      body: {
        code: "unauthenticated",
        reason: "CREDENTIAL_INVALID",
        verdict: "UNKNOWN",
        metadata: { verdict: "UNKNOWN" },
      },
    });
    expect(await get({ ...bearer("a"), "x-api-key": "b" })).toMatchObject({
      status: 401,
      body: { message: "`authorization` and `x-api-key` have different keys. Send one key" },
    });
    expect(server.seen).toEqual({});
  });

  test("reads a second authorization header, which Node hides from handlers", async () => {
    await start({});
    const secret = verifier.addKey("alice");
    const status = await new Promise((resolve, reject) => {
      const headers = ["authorization", `Bearer ${secret}`, "authorization", "Bearer another", "host", "localhost"];
      httpRequest(server.url, { headers }, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
        .on("error", reject)
        .end();
    });
    expect(status).toBe(401);
  });

  test("answers 403 and names the scopes that are missing", async () => {
    await start({ scopes: ["orders:read", "orders:write"] });
    expect(await get(bearer(verifier.addKey("alice")))).toMatchObject({
      status: 403,
      challenge: 'Bearer error="insufficient_scope", scope="orders:read orders:write"',
      body: { code: "permission_denied", reason: "PERMISSION_DENIED", verdict: "SCOPE_MISSING" },
    });
  });

  test("answers 429 and 503 with the seconds to wait and 500 to a defect, and calls onUndecided", async () => {
    const causes: unknown[] = [];
    await start({ onUndecided: (cause) => causes.push(cause) });
    const secret = verifier.addKey("alice", { verdict: Verdict.RATE_LIMITED, retryAfterMs: 1200 });
    expect(await get(bearer(secret))).toMatchObject({
      status: 429,
      retryAfter: "2",
      body: { code: "resource_exhausted", verdict: "RATE_LIMITED" },
    });
    const failures = [
      [new ConnectError("away", Code.Unavailable), "1"],
      // The verifier's own key: to retry is no use.
      [new ConnectError("token", Code.Unauthenticated), null],
    ] as const;
    for (const [failure, retryAfter] of failures) {
      verifier.failure = failure;
      expect(await get(bearer(secret))).toMatchObject({ status: 503, retryAfter, body: { code: "unavailable" } });
    }
    verifier.failure = new TypeError("a defect");
    expect(await get(bearer(secret))).toMatchObject({ status: 500, retryAfter: null, body: { code: "internal" } });
    expect(causes).toEqual([...failures.map(([failure]) => failure), verifier.failure]);
  });

  test("lets requests in without a key where that is allowed, but not with a bad key", async () => {
    for (const anonymous of [true, () => true]) {
      await start({ anonymous });
      expect(await get({})).toMatchObject({ status: 200, body: "nobody" });
      expect(await get(bearer(verifier.addKey("alice")))).toMatchObject({ body: "alice" });
      expect(await get(bearer("clv_live_typo"))).toMatchObject({ status: 401 });
      await get({ authorization: "Basic dTpw" });
      expect(server.seen.headers).toContain("Basic dTpw");
      await server.close();
    }
    await start({});
  });

  test("calls onRefused for each refusal, and answers with its body", async () => {
    const told: [path: unknown, status: number, reason: string][] = [];
    await start({
      onRefused: (request, { status, body: { reason, message, verdict } }) => {
        expect(JSON.stringify(request, ["headers", "authorization"])).not.toContain("Bearer");
        told.push(["url" in request && request.url, status, reason]);
        if (verdict === undefined) return undefined;
        return { contentType: "application/problem+json", body: { status, title: message, type: "about:blank" } };
      },
    });
    const asking = await fetch(server.url, { headers: bearer("clv_live_typo") });
    expect([asking.status, asking.headers.get("content-type"), asking.headers.get("www-authenticate")]).toEqual([
      ...[401, expect.stringMatching(/^application\/problem\+json/), 'Bearer error="invalid_token"'],
    ]);
    expect(await asking.json()).toMatchObject({ status: 401, type: "about:blank" });
    expect(await get({})).toMatchObject({ status: 401, body: { reason: "CREDENTIAL_MISSING" } });
    expect(await get(bearer(verifier.addKey("alice")))).toMatchObject({ status: 200 });
    expect(told).toEqual([
      ["/", 401, "CREDENTIAL_INVALID"],
      ["/", 401, "CREDENTIAL_MISSING"],
    ]);
  });

  test.each([
    [
      "throws",
      () => {
        throw new Error("no log");
      },
    ],
    ["rejects", (async () => Promise.reject(new Error("no log"))) as never],
    ["returns a wrong body", (() => "a text") as never],
  ])("ignores an onRefused that %s, and warns", async (_, onRefused) => {
    const heard: string[] = [];
    const hear = ({ message }: Error) => void heard.push(message);
    process.on("warning", hear);
    await start({ onRefused });
    for (let turn = 0; turn < 2; turn++) {
      expect(await get({})).toMatchObject({ status: 401, body: { reason: "CREDENTIAL_MISSING" } });
    }
    expect(heard).toEqual([expect.stringMatching(/^onRefused failed: .*Catch errors inside onRefused$/)]);
    process.off("warning", hear);
  });

  test("asks the server about a key that is not in memory", async () => {
    await start({});
    verifier.isForgetful = true;
    expect(await get(bearer(verifier.addKey("bob")))).toMatchObject({ status: 200, body: "bob" });
    expect(await get(bearer("clv_live_typo"))).toMatchObject({ status: 401 });
    expect(verifier.asked).toMatchObject([{ way: "server" }, { way: "server" }]);
  });

  test("reports the retirement of a secret to its holder only", async () => {
    await start({});
    const retiring = verifier.addKey("alice", { retireTime: new Date("2026-11-27T05:00:00Z") });
    expect(await get(bearer(retiring))).toMatchObject({ status: 200, retires: "2026-11-27T05:00:00.000Z" });
    expect(await get(bearer(verifier.addKey("bob")))).toMatchObject({ status: 200, retires: null });
  });
});

test("behind a trusted proxy, Express and Fastify provide the caller's address", async () => {
  const verifier = new FakeVerifier();
  const headers = { ...bearer(verifier.addKey("alice")), "x-forwarded-for": "192.0.2.7" };
  const app = express().set("trust proxy", true).use(requireKey(verifier));
  const server = app.get("/", (_, res) => void res.end()).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, { headers });
  const other = fastify({ trustProxy: true }).addHook("onRequest", fastifyKeys.requireKey(verifier));
  await fetch(await other.listen({ host: "127.0.0.1", port: 0 }), { headers });
  expect(verifier.asked.map(({ question }) => question.clientIp)).toEqual(["192.0.2.7", "192.0.2.7"]);
  server.closeAllConnections();
  await Promise.all([new Promise((resolve) => server.close(resolve)), other.close()]);
});

test("a single route has its own requirements, and functions get the framework's request", async () => {
  const verifier = new FakeVerifier();
  const headers = bearer(verifier.addKey("alice", { scopes: ["orders:7"] }));
  const app = express();
  const byOrder = { scopes: (req: express.Request) => [`orders:${req.params.id}`] };
  app.get("/orders/:id", requireKey(verifier, byOrder), (req, res) => void res.send(principalOf(req).key.owner));
  app.get("/open", (_, res) => void res.send("open"));
  const server = app.listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const other = fastify();
  const byUrl = { scopes: (request: FastifyRequest) => [request.url.slice(1).replace("/", ":")] };
  other.get("/orders/:id", { onRequest: fastifyKeys.requireKey(verifier, byUrl) }, async (request) => {
    return fastifyKeys.principalOf(request).key.owner;
  });
  other.get("/open", async () => "open");
  const urls = [
    `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    await other.listen({ host: "127.0.0.1", port: 0 }),
  ];
  for (const url of urls) {
    expect(await (await fetch(`${url}/open`)).text()).toBe("open");
    expect(await (await fetch(`${url}/orders/7`, { headers })).text()).toBe("alice");
    expect((await fetch(`${url}/orders/8`, { headers })).status).toBe(403);
  }
  server.closeAllConnections();
  await Promise.all([new Promise((resolve) => server.close(resolve)), other.close()]);
});

test("a route requires its own scopes behind a requireKey for the whole application", async () => {
  const verifier = new FakeVerifier();
  const writer = bearer(verifier.addKey("alice", { scopes: ["orders:write"] }));
  const reader = bearer(verifier.addKey("bob"));
  const scopes = ["orders:write"];
  const app = express().use(requireKey(verifier));
  app.get("/", (req, res) => void res.send(principalOf(req).key.owner));
  app.post("/", requireKey(verifier, { scopes }), (req, res) => void res.send(principalOf(req).key.owner));
  const first = app.listen(0, "127.0.0.1");
  await new Promise((resolve) => first.once("listening", resolve));
  const second = fastify();
  second.addHook("onRequest", fastifyKeys.requireKey(verifier));
  second.get("/", async (request) => fastifyKeys.principalOf(request).key.owner);
  second.post("/", { onRequest: fastifyKeys.requireKey(verifier, { scopes }) }, async (request) => {
    return fastifyKeys.principalOf(request).key.owner;
  });
  const inner = withKey(verifier, (req, res) => void res.end(principalOf(req).key.owner), { scopes });
  const third = createHttpServer(withKey(verifier, inner));
  await new Promise<void>((resolve) => third.listen(0, "127.0.0.1", resolve));
  const urlOf = (server: { address(): unknown }) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  for (const url of [urlOf(first), await second.listen({ host: "127.0.0.1", port: 0 }), urlOf(third)]) {
    const answers = [writer, { "x-api-key": writer.authorization.slice(7) }, reader, {}].map(async (headers) => {
      const response = await fetch(url, { method: "POST", headers: headers as Record<string, string> });
      return [response.status, await response.text()];
    });
    const [byBearer, byApiKey, unscoped, without] = await Promise.all(answers);
    expect([byBearer, byApiKey]).toEqual([
      [200, "alice"],
      [200, "alice"],
    ]);
    expect(unscoped).toEqual([403, expect.stringContaining("SCOPE_MISSING")]);
    expect(without).toEqual([401, expect.stringContaining("CREDENTIAL_MISSING")]);
  }
  for (const server of [first, third]) server.closeAllConnections();
  for (const server of [first, third]) await new Promise((resolve) => server.close(resolve));
  await second.close();
});

test("a handler on node:http2 gets the principal and no key", async () => {
  const verifier = new FakeVerifier();
  const secret = verifier.addKey("alice");
  let seen = "";
  const handle = (req: Http2ServerRequest, res: Http2ServerResponse) => {
    seen = JSON.stringify([req.headers, req.rawHeaders]);
    res.end(principalOf(req).key.owner);
  };
  const server = createServer(withKey(verifier, handle));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const client = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const answers = [];
  for (const headers of [bearer(secret), { "x-api-key": secret }, {}]) {
    const stream = client.request({ ":path": "/", ...headers }).setEncoding("utf8");
    answers.push((await stream.toArray()).join(""));
    expect(seen).not.toContain(secret);
  }
  expect(answers).toEqual(["alice", "alice", expect.stringContaining("CREDENTIAL_MISSING")]);
  client.close();
  await new Promise((resolve) => server.close(resolve));
});

test("a request is let in in the same turn when the verifier answers from memory", () => {
  const verifier = new FakeVerifier();
  const request = { headers: { "x-api-key": verifier.addKey("alice") }, rawHeaders: [] };
  let isIn = false;
  requireKey(verifier)(request, { statusCode: 0, setHeader: () => {}, end: () => {} }, () => {
    isIn = true;
  });
  expect(isIn).toBe(true);
});

test("a requireKey that is anonymous and requires scopes is rejected", () => {
  expect(() => requireKey(new FakeVerifier(), { anonymous: true, scopes: ["a"] })).toThrow(
    /Remove anonymous or scopes/,
  );
});

test("principalOf without a principal says what to do", () => {
  expect(() => principalOf({})).toThrow(/Put requireKey\(verifier\) before this handler/);
});
