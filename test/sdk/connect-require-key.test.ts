import { Code, ConnectError, createContextValues, type Interceptor } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { principalOf, type RequireKeyOptions, requireKey } from "../../src/sdk/connect/index.ts";
import { FakeVerifier } from "../../src/sdk/testing/fake-verifier.ts";
import { type OrdersServer, serveOrders } from "./connect-server.ts";
import { loadProtos } from "./orders.ts";
import { errorOf, infoOf } from "./refused.ts";

const { orders, contradictory } = loadProtos();
const bearer = (secret: string) => ({ headers: { authorization: `Bearer ${secret}` } });

describe.each(["connect", "grpc"] as const)("a service on Connect that requires keys, called over %s", (protocol) => {
  let verifier: FakeVerifier;
  let server: OrdersServer;
  let causes: unknown[];

  async function start(options: RequireKeyOptions = {}): Promise<OrdersServer> {
    server = await serveOrders(orders, [
      requireKey(verifier, { onUndecided: (cause) => causes.push(cause), ...options }),
    ]);
    return server;
  }

  beforeEach(() => {
    verifier = new FakeVerifier();
    causes = [];
  });
  afterEach(() => server.close());

  test("passes the principal to the handler, and removes the key", async () => {
    const client = (await start())[protocol];
    const secret = verifier.addKey("alice");
    for (const headers of [{ authorization: `Bearer ${secret}` }, { "x-api-key": secret }]) {
      expect(await client.ping({}, { headers })).toMatchObject({ value: "alice" });
      expect(JSON.stringify(server.seen.headers)).not.toContain(secret);
      expect(server.seen.headers).not.toHaveProperty("authorization");
      expect(server.seen.headers).not.toHaveProperty("x-api-key");
    }
  });

  test("control: without it, the handler sees the key", async () => {
    server = await serveOrders(orders, []);
    const secret = verifier.addKey("alice");
    await server[protocol].ping({}, bearer(secret));
    expect(server.seen).toMatchObject({ owner: undefined, headers: { authorization: `Bearer ${secret}` } });
  });

  test("gives a second requireKey the same key, and charges it once", async () => {
    server = await serveOrders(orders, [requireKey(verifier, { scopes: () => [] }), requireKey(verifier)]);
    const client = server[protocol];
    expect(await client.write({}, bearer(verifier.addKey("alice", { scopes: ["orders:*"] })))).toMatchObject({
      value: "alice",
    });
    expect(verifier.asked.map(({ question: { scopes, cost } }) => [scopes, cost])).toEqual([
      [[], undefined],
      [["orders:write", "orders:read"], 0],
    ]);
    const unscoped = client.write({}, bearer(verifier.addKey("bob")));
    await expect(unscoped).rejects.toMatchObject({ code: Code.PermissionDenied });
  });

  test("takes no key from another call that shares its context", async () => {
    server = await serveOrders(orders, [requireKey(verifier)], createContextValues());
    const client = server[protocol];
    await client.ping({}, bearer(verifier.addKey("alice")));
    await expect(client.ping({})).rejects.toMatchObject({ code: Code.Unauthenticated });
  });

  test("verifies with the method's path, the scopes of its option, and the peer's address", async () => {
    const client = (await start())[protocol];
    const secret = verifier.addKey("alice", { scopes: ["orders:*"], address: "127.0.0.1" });
    await client.write({}, bearer(secret));
    expect(verifier.asked).toEqual([
      {
        secret,
        way: "sync",
        question: {
          scopes: ["orders:write", "orders:read"],
          environment: "live",
          method: "/claviger.test.v1.Orders/Write",
          clientIp: "127.0.0.1",
        },
      },
    ]);
  });

  test("asks the server about a key that is not in memory", async () => {
    const client = (await start())[protocol];
    verifier.isForgetful = true;
    expect(await client.ping({}, bearer(verifier.addKey("bob")))).toMatchObject({ value: "bob" });
    expect(verifier.asked).toMatchObject([{ way: "server" }]);
  });

  test("names the scopes that are missing", async () => {
    const client = (await start())[protocol];
    const secret = verifier.addKey("alice", { scopes: ["orders:read"] });
    const error = await errorOf(client.write({}, bearer(secret)));
    expect(error.code).toBe(Code.PermissionDenied);
    expect(infoOf(error)).toEqual({
      domain: "claviger",
      reason: "PERMISSION_DENIED",
      metadata: { verdict: "SCOPE_MISSING", missing_scopes: "orders:write" },
    });
  });

  test("refuses a call without a key, with a bad key, and with two keys", async () => {
    const client = (await start())[protocol];
    const [one, other] = [verifier.addKey("alice"), verifier.addKey("bob")];
    const missing = await errorOf(client.ping({}));
    expect([missing.code, infoOf(missing)]).toMatchObject([Code.Unauthenticated, { reason: "CREDENTIAL_MISSING" }]);
    const bad = await errorOf(client.ping({}, bearer("clv_live_nothing")));
    expect(infoOf(bad)).toMatchObject({ reason: "CREDENTIAL_INVALID", metadata: { verdict: "UNKNOWN" } });
    const two = await errorOf(client.ping({}, { headers: { authorization: `Bearer ${one}`, "x-api-key": other } }));
    expect(infoOf(two)).toMatchObject({ reason: "CREDENTIAL_INVALID" });
    expect(two.rawMessage).toContain("Send one key");
    expect(server.seen).toEqual({});
  });

  test("refuses a text that is too long for a key without a question", async () => {
    const client = (await start())[protocol];
    const error = await errorOf(client.ping({}, bearer("x".repeat(4097))));
    expect(infoOf(error)).toMatchObject({ reason: "CREDENTIAL_INVALID", metadata: { verdict: "MALFORMED" } });
    expect(verifier.asked).toEqual([]);
  });

  test("says when to retry after a limit, and after an outage", async () => {
    const client = (await start())[protocol];
    const secret = verifier.addKey("alice", { verdict: Verdict.RATE_LIMITED, retryAfterMs: 2000 });
    const limited = await errorOf(client.ping({}, bearer(secret)));
    expect([limited.code, infoOf(limited)]).toMatchObject([Code.ResourceExhausted, { reason: "RATE_LIMITED" }]);
    expect(limited.findDetails(RetryInfoSchema)).toMatchObject([{ retryDelay: { seconds: 2n } }]);
    verifier.failure = new ConnectError("10.1.2.3 is away", Code.Unavailable);
    const outage = await errorOf(client.ping({}, bearer(secret)));
    expect(outage.code).toBe(Code.Unavailable);
    expect(outage.findDetails(RetryInfoSchema)).toMatchObject([{ retryDelay: { seconds: 1n } }]);
    expect(outage.rawMessage).not.toContain("10.1.2.3");
    expect(causes).toEqual([verifier.failure]);
  });

  test("lets calls to an anonymous method in without a key and with a good key, but not with a bad key", async () => {
    const client = (await start())[protocol];
    expect(await client.browse({})).toMatchObject({ value: "nobody" });
    expect(await client.browse({}, bearer(verifier.addKey("alice")))).toMatchObject({ value: "alice" });
    expect((await errorOf(client.browse({}, bearer("clv_live_typo")))).code).toBe(Code.Unauthenticated);
  });

  test("leaves authorization of another scheme to the handler", async () => {
    const client = (await start())[protocol];
    await client.browse({}, { headers: { authorization: "Basic dTpw" } });
    expect(server.seen.headers).toMatchObject({ authorization: "Basic dTpw" });
  });

  test("takes scopes, anonymity and the address from the options instead", async () => {
    const client = (
      await start({
        scopes: ({ method }) => [`orders:${method.localName}`],
        anonymous: ({ method }) => method.name === "Ping",
        clientIp: ({ header }) => header.get("x-real-ip") ?? undefined,
      })
    )[protocol];
    expect(await client.ping({})).toMatchObject({ value: "nobody" });
    expect((await errorOf(client.browse({}))).code).toBe(Code.Unauthenticated);
    const headers = { ...bearer(verifier.addKey("alice", { scopes: ["orders:*"] })).headers, "x-real-ip": "192.0.2.7" };
    await client.write({}, { headers });
    expect(verifier.asked.at(-1)?.question).toMatchObject({ scopes: ["orders:write"], clientIp: "192.0.2.7" });
  });

  test("ends with INTERNAL and calls onUndecided when an option throws", async () => {
    const failure = new TypeError("no such tenant");
    const client = (
      await start({
        scopes: () => {
          throw failure;
        },
      })
    )[protocol];
    const error = await errorOf(client.ping({}, bearer(verifier.addKey("alice"))));
    expect([error.code, infoOf(error)]).toMatchObject([Code.Internal, { reason: "INTERNAL" }]);
    expect(error.rawMessage).not.toContain("tenant");
    expect(causes).toEqual([failure]);
  });

  test("reports the retirement of a secret to its holder only", async () => {
    const client = (await start())[protocol];
    const retires = async (secret: string) => {
      let trailer: Headers | undefined;
      await client.ping(
        {},
        {
          ...bearer(secret),
          onTrailer: (received) => {
            trailer = received;
          },
        },
      );
      return trailer?.get("claviger-secret-retires");
    };
    const retireTime = new Date("2026-11-27T05:00:00Z");
    expect(await retires(verifier.addKey("alice", { retireTime }))).toBe("2026-11-27T05:00:00.000Z");
    expect(await retires(verifier.addKey("bob"))).toBeNull();
  });
});

describe("the interceptor itself", () => {
  const verifier = new FakeVerifier();
  const secret = verifier.addKey("alice");
  const request = (header: Record<string, string>, method = orders.method.ping) =>
    ({
      stream: false,
      header: new Headers(header),
      method,
      contextValues: createContextValues(),
    }) as unknown as Parameters<ReturnType<Interceptor>>[0];

  test("calls the handler in the same turn when the verifier answers from memory", () => {
    let isCalled = false;
    const call = requireKey(verifier)(async () => {
      isCalled = true;
      return {} as never;
    });
    void call(request({ "x-api-key": secret }));
    expect(isCalled).toBe(true);
  });

  test("refuses every call to a method that is anonymous and requires scopes", async () => {
    const [both] = contradictory.methods;
    const call = requireKey(verifier)(() => Promise.reject(new Error("it was called")));
    const error = await errorOf(call(request({}, both as unknown as typeof orders.method.ping)));
    expect(error.code).toBe(Code.Internal);
    expect(String(error.cause)).toContain("Remove one of the two");
  });

  test("principalOf without a principal says what to do", () => {
    expect(() => principalOf({ values: createContextValues() })).toThrow(/Add requireKey\(verifier\)/);
  });
});
