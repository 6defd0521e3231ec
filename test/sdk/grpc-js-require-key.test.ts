import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { Metadata, ServerInterceptingCall, type ServiceError, status } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { ErrorInfoSchema, RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "#gen/google/rpc/status_pb.js";
import { principalOf, type RequireKeyOptions, requireKey } from "../../src/sdk/grpc-js/index.ts";
import { FakeVerifier } from "../../src/sdk/testing/fake-verifier.ts";
import { eventually } from "../../testkit/eventually.ts";
import { FakeClocks } from "../../testkit/fakes/fake-clocks.ts";
import { loadDefinition } from "./grpc-js-client.ts";
import { collect, metadataOf, type OrdersServer, serveOrders } from "./grpc-js-server.ts";
import { loadProtos } from "./orders.ts";

const { registry, orders, contradictory } = loadProtos();
const bearer = (secret: string) => ({ authorization: `Bearer ${secret}` });

/** How a call is refused, with what `grpc-status-details-bin` says. */
async function refusedWith(call: Promise<unknown>) {
  const error = await call.then(
    () => {
      throw new Error("the call succeeded");
    },
    (reason: ServiceError) => reason,
  );
  const { details } = fromBinary(StatusSchema, error.metadata.get("grpc-status-details-bin")[0] as Buffer);
  const info = details.map((any) => anyUnpack(any, ErrorInfoSchema)).find((found) => found !== undefined);
  const retry = details.map((any) => anyUnpack(any, RetryInfoSchema)).find((found) => found !== undefined);
  return {
    code: status[error.code],
    message: error.details,
    reason: info?.reason,
    metadata: info?.metadata,
    retrySeconds: retry && Number(retry.retryDelay?.seconds),
  };
}

let verifier: FakeVerifier;
let timers: FakeClocks;
let server: OrdersServer;
let causes: unknown[];

async function start(options: RequireKeyOptions = {}): Promise<OrdersServer> {
  const onUndecided = (cause: unknown) => causes.push(cause);
  server = await serveOrders([requireKey(verifier, { timers, onUndecided, ...options })]);
  return server;
}

beforeEach(() => {
  verifier = new FakeVerifier();
  timers = new FakeClocks();
  causes = [];
});
afterEach(() => server.close());

describe("a service on grpc-js that requires keys", () => {
  test("passes the principal to the handler, and removes the key", async () => {
    const { call, seen } = await start();
    const secret = verifier.addKey("alice");
    for (const headers of [bearer(secret), { "x-api-key": secret }]) {
      expect(await call("ping", { ...headers, other: "stays" })).toMatchObject({ value: "alice" });
      expect(seen.metadata).toMatchObject({ other: "stays" });
      expect(seen.metadata).not.toHaveProperty("authorization");
      expect(seen.metadata).not.toHaveProperty("x-api-key");
    }
  });

  test("control: without it, the handler sees the key", async () => {
    server = await serveOrders([]);
    await server.call("ping", bearer("a secret"));
    expect(server.seen).toMatchObject({ owner: undefined, metadata: { authorization: "Bearer a secret" } });
  });

  test.each([
    ["proto-loader's definition", () => [loadDefinition()]],
    ["a descriptor", () => [orders]],
    ["a registry", () => registry],
  ] as const)("enforces the options that it reads from %s", async (_, services) => {
    const given = [...services()].filter((service) => service !== contradictory) as RequireKeyOptions["services"];
    const { call } = await start(given && { services: given });
    expect(await call("browse", {})).toMatchObject({ value: "nobody" });
    const reader = bearer(verifier.addKey("reader", { scopes: ["orders:read"] }));
    expect(await call("ping", reader)).toMatchObject({ value: "reader" });
    expect(await refusedWith(call("write", reader))).toMatchObject({
      code: "PERMISSION_DENIED",
      reason: "PERMISSION_DENIED",
      metadata: { verdict: "SCOPE_MISSING", missing_scopes: "orders:write" },
    });
    const writer = bearer(verifier.addKey("writer", { scopes: ["orders:*"], address: "127.0.0.1" }));
    expect(await call("write", writer)).toMatchObject({ value: "writer" });
    expect(verifier.asked.at(-1)?.question).toEqual({
      scopes: ["orders:write", "orders:read"],
      environment: "live",
      method: "/claviger.test.v1.Orders/Write",
      clientIp: "127.0.0.1",
    });
  });

  test("gives a second requireKey the same key, and charges it once", async () => {
    server = await serveOrders([requireKey(verifier), requireKey(verifier, { scopes: () => ["orders:write"] })]);
    const writer = bearer(verifier.addKey("writer", { scopes: ["orders:*"] }));
    expect(await server.call("ping", writer)).toMatchObject({ value: "writer" });
    expect(verifier.asked.map(({ question: { scopes, cost } }) => [scopes, cost])).toEqual([
      [[], undefined],
      [["orders:write"], 0],
    ]);
    const unscoped = server.call("ping", bearer(verifier.addKey("reader")));
    expect(await refusedWith(unscoped)).toMatchObject({ code: "PERMISSION_DENIED" });
  });

  test("refuses every call to a method without requirements", async () => {
    const { call } = await start({ services: [] });
    expect(await refusedWith(call("browse", {}))).toMatchObject({ code: "INTERNAL", reason: "INTERNAL" });
    expect(await refusedWith(call("ping", bearer(verifier.addKey("alice"))))).toMatchObject({ code: "INTERNAL" });
    expect(String(causes[0])).toContain("Add its service to services");
    server.close();
    const other = await start({ services: [], anonymous: ({ path }) => path.endsWith("/Browse") || undefined });
    expect(await other.call("browse", {})).toMatchObject({ value: "nobody" });
    expect(await other.call("browse", bearer(verifier.addKey("alice")))).toMatchObject({ value: "alice" });
    expect(await refusedWith(other.call("ping", {}))).toMatchObject({ code: "INTERNAL" });
  });

  test("takes scopes and anonymity from functions instead", async () => {
    const { call } = await start({
      scopes: ({ path, peer, metadata }) =>
        [
          `${path.split("/").at(-1)}`.toLowerCase(),
          peer.split(":")[0] ?? "",
          `${metadata.get("authorization")}`,
        ].filter((scope) => scope !== ""),
      anonymous: ({ path }) => path.endsWith("/Ping"),
    });
    expect(await call("ping", {})).toMatchObject({ value: "nobody" });
    await refusedWith(call("write", bearer(verifier.addKey("alice"))));
    expect(verifier.asked.at(-1)?.question.scopes).toEqual(["write", "127.0.0.1"]);
  });

  test("asks the server about a key that is not in memory, and goes on after the answer", async () => {
    const { call } = await start();
    verifier.isForgetful = true;
    expect(await call("ping", bearer(verifier.addKey("bob")))).toMatchObject({ value: "bob" });
    expect(verifier.asked).toMatchObject([{ way: "server" }]);
  });

  test("refuses calls without a key, with a bad key, with two keys, beyond a limit, and in an outage", async () => {
    const { call, seen } = await start();
    expect(await refusedWith(call("ping", {}))).toMatchObject({
      code: "UNAUTHENTICATED",
      reason: "CREDENTIAL_MISSING",
    });
    expect(await refusedWith(call("ping", bearer("clv_live_typo")))).toMatchObject({
      code: "UNAUTHENTICATED",
      reason: "CREDENTIAL_INVALID",
      metadata: { verdict: "UNKNOWN" },
    });
    expect(await refusedWith(call("ping", { ...bearer("a"), "x-api-key": "b" }))).toMatchObject({
      code: "UNAUTHENTICATED",
      message: "`authorization` and `x-api-key` have different keys. Send one key",
    });
    const limited = verifier.addKey("carol", { verdict: Verdict.QUOTA_EXHAUSTED, retryAfterMs: 7000 });
    expect(await refusedWith(call("ping", bearer(limited)))).toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      reason: "QUOTA_EXHAUSTED",
      retrySeconds: 7,
    });
    verifier.failure = new ConnectError("away", Code.Unavailable);
    expect(await refusedWith(call("ping", bearer(limited)))).toMatchObject({ code: "UNAVAILABLE", retrySeconds: 1 });
    expect(seen).toEqual({});
  });

  test("reports the retirement of a secret to its holder only", async () => {
    const { call } = await start();
    const retiring = verifier.addKey("alice", { retireTime: new Date("2026-11-27T05:00:00Z") });
    expect(await call("ping", bearer(retiring))).toMatchObject({ retires: "2026-11-27T05:00:00.000Z" });
    expect(await call("ping", bearer(verifier.addKey("bob")))).toMatchObject({ retires: undefined });
  });
});

describe("a stream on grpc-js that requires a key", () => {
  let secret: string;
  let metadata: Metadata;

  beforeEach(async () => {
    await start({ services: [orders] });
    secret = verifier.addKey("alice", { scopes: ["orders:*"] });
    metadata = metadataOf(bearer(secret));
  });

  /** The answer of a stream of `lines` that is left open, unless `end` is called. */
  function sendLines(lines: readonly string[]) {
    let end = () => {};
    const answer = new Promise((resolve, reject) => {
      const stream = server.client.import(metadata, (error, text) => (error === null ? resolve(text) : reject(error)));
      for (const value of lines) stream.write({ value });
      end = () => void stream.end();
    });
    return { answer, end: () => end() };
  }

  test("of every kind passes while its key is good", async () => {
    const { answer, end } = sendLines(["1", "2"]);
    await eventually(() => expect(timers.pending).toBe(1));
    await timers.pass(60_000);
    end();
    expect(await answer).toMatchObject({ value: "2" });
    const chat = server.client.chat(metadata);
    const texts = collect(chat);
    chat.write({ value: "a" });
    await eventually(() => expect(timers.pending).toBe(1));
    await timers.pass(60_000);
    chat.write({ value: "b" });
    chat.end();
    expect(await texts).toEqual(["a", "b"]);
    expect(verifier.asked.map(({ question }) => question.cost)).toEqual([undefined, 0, undefined, 0]);
    await eventually(() => expect(timers.pending).toBe(0));
  });

  test("does not begin with a bad key", async () => {
    const bad = metadataOf(bearer("clv_live_typo"));
    expect(await refusedWith(collect(server.client.watch({ value: "" }, bad)))).toMatchObject({
      code: "UNAUTHENTICATED",
    });
    expect(await refusedWith(collect(server.client.chat(bad)))).toMatchObject({ code: "UNAUTHENTICATED" });
    expect(server.seen).toEqual({});
    expect(timers.pending).toBe(0);
  });

  test("from the server ends when its key dies, and the handler is cancelled", async () => {
    const watch = server.client.watch({ value: "" }, metadata);
    const received: string[] = [];
    watch.on("data", ({ value }) => received.push(value));
    const texts = collect(watch);
    await eventually(() => expect(received).toEqual(["first"]));
    verifier.keys.set(secret, { verdict: Verdict.REVOKED });
    const decide = verifier.verifySync.bind(verifier);
    verifier.verifySync = (...asked) => {
      // In the turn in which the stream ends, before the connection knows.
      queueMicrotask(() => server.seen.send?.());
      return decide(...asked);
    };
    await timers.pass(60_000);
    expect(await refusedWith(texts)).toMatchObject({ code: "UNAUTHENTICATED", metadata: { verdict: "REVOKED" } });
    await eventually(() => expect(server.seen.wasCancelled).toBe(true));
    expect(received).toEqual(["first"]);
    expect(timers.pending).toBe(0);
  });

  test("from the client or in both directions ends when its key loses a scope or expires", async () => {
    const ended = refusedWith(sendLines(["1"]).answer);
    await eventually(() => expect(timers.pending).toBe(1));
    verifier.keys.set(secret, { scopes: [] });
    await timers.pass(60_000);
    expect(await ended).toMatchObject({ code: "PERMISSION_DENIED" });
    const chatEnded = refusedWith(collect(server.client.chat(metadata)));
    await eventually(() => expect(timers.pending).toBe(1));
    verifier.keys.set(secret, { verdict: Verdict.EXPIRED });
    await timers.pass(60_000);
    expect(await chatEnded).toMatchObject({ code: "UNAUTHENTICATED", metadata: { verdict: "EXPIRED" } });
  });

  test("outlives an outage of less than a minute, and ends with UNAVAILABLE after a longer one", async () => {
    const ended = refusedWith(collect(server.client.chat(metadata)));
    await eventually(() => expect(timers.pending).toBe(1));
    verifier.failure = new ConnectError("away", Code.Unavailable);
    await timers.pass(119_000);
    expect(timers.pending).toBe(2);
    await timers.pass(1000);
    expect(await ended).toMatchObject({ code: "UNAVAILABLE", retrySeconds: 1 });
  });

  test("whose client hangs up before the key is known does not begin", async () => {
    let answer: (() => void) | undefined;
    const decide = verifier.verify.bind(verifier);
    verifier.isForgetful = true;
    verifier.verify = async (...asked) => {
      await new Promise<void>((resolve) => {
        answer = resolve;
      });
      return decide(...asked);
    };
    const watch = server.client.watch({ value: "" }, metadata);
    const texts = collect(watch).catch((error: ServiceError) => error.code);
    await eventually(() => expect(answer).toBeDefined());
    watch.cancel();
    expect(await texts).toBe(status.CANCELLED);
    // Another call on the same connection is answered after the server has read that.
    await refusedWith(server.call("ping", {}));
    answer?.();
    await eventually(() => expect(verifier.asked).toHaveLength(1));
    await new Promise((resolve) => setImmediate(resolve));
    expect(timers.pending).toBe(0);
    expect(server.seen).toEqual({});
  });

  test("whose client hangs up is not verified again", async () => {
    const watch = server.client.watch({ value: "" }, metadata);
    const texts = collect(watch).catch((error: ServiceError) => error.code);
    await eventually(() => expect(timers.pending).toBe(1));
    watch.cancel();
    expect(await texts).toBe(status.CANCELLED);
    await eventually(() => expect(timers.pending).toBe(0));
  });
});

describe("requireKey on grpc-js", () => {
  beforeEach(() => start());

  test("rejects services whose options are missing or unclear", () => {
    const { Ping, Write } = loadDefinition();
    if (Ping === undefined || Write === undefined) throw new Error("correct the test");
    const { options: _, ...bare } = Ping as typeof Ping & { options: unknown };
    expect(() => requireKey(verifier, { services: [{ Ping: bare }] })).toThrow(/Pass its descriptor/);
    for (const option of [
      { "(claviger.v1.access).scopes": "orders:write" },
      { "(claviger.v1.access)": { scopes: ["a"], anonymous: true } },
      { "(claviger.v1.access)": { scope: ["a"] } },
    ]) {
      const written = { ...Write, options: option };
      expect(() => requireKey(verifier, { services: [{ Write: written }] })).toThrow(/Write it once/);
    }
    expect(() => requireKey(verifier, { services: [contradictory] })).toThrow(/Remove one of the two/);
  });

  test("principalOf says what to do if another interceptor has copied the metadata", async () => {
    server.close();
    const copy = (_: unknown, call: ConstructorParameters<typeof ServerInterceptingCall>[0]) =>
      new ServerInterceptingCall(call, {
        start: (next) => next({ onReceiveMetadata: (metadata, pass) => pass(metadata.clone()) }),
      });
    const secret = verifier.addKey("alice");
    server = await serveOrders([requireKey(verifier), copy]);
    expect(await server.call("ping", bearer(secret))).toMatchObject({ value: "nobody" });
    server.close();
    server = await serveOrders([copy, requireKey(verifier)]);
    expect(await server.call("ping", bearer(secret))).toMatchObject({ value: "alice" });
    expect(() => principalOf({ metadata: new Metadata() })).toThrow(/last into the server's interceptors/);
  });
});
