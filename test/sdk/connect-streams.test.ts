import { Code, ConnectError } from "@connectrpc/connect";
import { createWritableIterable } from "@connectrpc/connect/protocol";
import { Metadata, status } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { requireKey } from "../../src/sdk/connect/index.ts";
import { FakeVerifier } from "../../src/sdk/testing/fake-verifier.ts";
import { eventually } from "../../testkit/eventually.ts";
import { FakeClocks } from "../../testkit/fakes/fake-clocks.ts";
import { grpcRefusalOf } from "../clients/grpc-refusal.ts";
import { type OrdersServer, serveOrders } from "./connect-server.ts";
import { collect, createGrpcJsClient } from "./grpc-js-client.ts";
import { loadProtos } from "./orders.ts";
import { errorOf, infoOf } from "./refused.ts";

const { orders } = loadProtos();

/** Messages that a client sends when told to. */
function outbox() {
  const messages = createWritableIterable<{ value: string }>();
  return { messages, send: (value: string) => void messages.write({ value }), end: () => messages.close() };
}

describe.each(["connect", "grpc"] as const)("a stream on Connect that requires a key, over %s", (protocol) => {
  let verifier: FakeVerifier;
  let timers: FakeClocks;
  let server: OrdersServer;
  let secret: string;
  let options: { headers: Record<string, string> };

  beforeEach(async () => {
    verifier = new FakeVerifier();
    timers = new FakeClocks();
    server = await serveOrders(orders, [requireKey(verifier, { timers })]);
    secret = verifier.addKey("alice", { scopes: ["orders:*"] });
    options = { headers: { "x-api-key": secret } };
  });
  afterEach(() => server.close());

  test("of every kind passes while its key is good", async () => {
    const client = server[protocol];
    const { messages, send, end } = outbox();
    const chat = client.chat(messages, options)[Symbol.asyncIterator]();
    for (const word of ["a", "b"]) {
      send(word);
      expect(await chat.next()).toMatchObject({ value: { value: word } });
      await timers.pass(60_000);
    }
    end();
    expect(await chat.next()).toMatchObject({ done: true });
    const lines = outbox();
    for (const line of ["1", "2"]) lines.send(line);
    lines.end();
    expect(await client.import(lines.messages, options)).toMatchObject({ value: "2" });
    expect(server.seen).toMatchObject({ owner: "alice" });
    expect(verifier.asked.map(({ question }) => question.cost)).toEqual([undefined, 0, 0, undefined]);
    await eventually(() => expect(timers.pending).toBe(0));
  });

  test("does not begin with a bad key", async () => {
    const client = server[protocol];
    const bad = { headers: { "x-api-key": "clv_live_typo" } };
    const reading = async () => {
      for await (const _ of client.watch({}, bad)) throw new Error("something came");
    };
    expect((await errorOf(reading())).code).toBe(Code.Unauthenticated);
    const { messages } = outbox();
    expect((await errorOf(client.import(messages, bad))).code).toBe(Code.Unauthenticated);
    expect(server.seen).toEqual({});
    expect(timers.pending).toBe(0);
  });

  test("from the server ends when its key dies, and the handler's signal aborts", async () => {
    const watch = server[protocol].watch({}, options)[Symbol.asyncIterator]();
    await watch.next();
    verifier.keys.set(secret, { verdict: Verdict.REVOKED });
    await timers.pass(60_000);
    const error = await errorOf(watch.next());
    expect(error.code).toBe(Code.Unauthenticated);
    expect(infoOf(error)).toMatchObject({ reason: "CREDENTIAL_INVALID", metadata: { verdict: "REVOKED" } });
    expect(server.seen.endedBy).toMatchObject({ code: Code.Unauthenticated });
    expect(timers.pending).toBe(0);
  });

  test("from the client ends when its key loses a scope, also in the handler", async () => {
    const { messages, send } = outbox();
    const call = errorOf(server[protocol].import(messages, options));
    send("1");
    await eventually(() => expect(timers.pending).toBe(1));
    verifier.keys.set(secret, { scopes: ["orders:read"] });
    await timers.pass(60_000);
    expect((await call).code).toBe(Code.PermissionDenied);
    expect(server.seen.endedBy).toMatchObject({ code: Code.PermissionDenied });
  });

  test("both ways ends when its key dies, between two messages", async () => {
    const { messages, send } = outbox();
    const chat = server[protocol].chat(messages, options)[Symbol.asyncIterator]();
    send("a");
    await chat.next();
    verifier.keys.set(secret, { verdict: Verdict.EXPIRED });
    await timers.pass(60_000);
    expect((await errorOf(chat.next())).code).toBe(Code.Unauthenticated);
    expect(server.seen.endedBy).toMatchObject({ code: Code.Unauthenticated });
  });

  test("outlives an outage of less than a minute, and ends with UNAVAILABLE after a longer one", async () => {
    const { messages, send } = outbox();
    const chat = server[protocol].chat(messages, options)[Symbol.asyncIterator]();
    send("a");
    await chat.next();
    verifier.failure = new ConnectError("away", Code.Unavailable);
    await timers.pass(110_000);
    send("b");
    expect(await chat.next()).toMatchObject({ value: { value: "b" } });
    await timers.pass(10_000);
    expect((await errorOf(chat.next())).code).toBe(Code.Unavailable);
  });

  test("whose client hangs up is not verified again", async () => {
    const hangUp = new AbortController();
    const watch = server[protocol].watch({}, { ...options, signal: hangUp.signal })[Symbol.asyncIterator]();
    await watch.next();
    expect(timers.pending).toBe(1);
    hangUp.abort();
    await errorOf(watch.next());
    await eventually(() => expect(timers.pending).toBe(0));
  });

  test("reports a secret that was rotated while the stream ran", async () => {
    let trailer: Headers | undefined;
    const onTrailer = (received: Headers) => {
      trailer = received;
    };
    const { messages, send, end } = outbox();
    const chat = server[protocol].chat(messages, { ...options, onTrailer })[Symbol.asyncIterator]();
    send("a");
    await chat.next();
    verifier.keys.set(secret, { retireTime: new Date("2026-11-27T05:00:00Z") });
    await timers.pass(60_000);
    end();
    await chat.next();
    expect(trailer?.get("claviger-secret-retires")).toBe("2026-11-27T05:00:00.000Z");
  });
});

test("control: a stream whose key is not verified again goes on with a dead key", async () => {
  const verifier = new FakeVerifier();
  const timers = new FakeClocks();
  const server = await serveOrders(orders, [requireKey(verifier, { timers, reverifyMs: 2 ** 31 - 1 })]);
  const secret = verifier.addKey("alice");
  const { messages, send } = outbox();
  const chat = server.grpc.chat(messages, { headers: { "x-api-key": secret } })[Symbol.asyncIterator]();
  send("a");
  await chat.next();
  verifier.keys.set(secret, { verdict: Verdict.REVOKED });
  await timers.pass(600_000);
  send("b");
  expect(await chat.next()).toMatchObject({ value: { value: "b" } });
  await server.close();
});

describe("a client of grpc-js at a service on Connect", () => {
  test("calls with a key in its metadata, and reads why it is refused", async () => {
    const verifier = new FakeVerifier();
    const timers = new FakeClocks();
    const server = await serveOrders(orders, [requireKey(verifier, { timers })]);
    const client = createGrpcJsClient(server.address);
    const metadata = new Metadata();
    const secret = verifier.addKey("alice", { scopes: ["orders:read"] });
    metadata.set("authorization", `Bearer ${secret}`);
    const ping = () =>
      new Promise((resolve, reject) => {
        client.ping({ value: "" }, metadata, (error, answer) => (error === null ? resolve(answer) : reject(error)));
      });
    expect(await ping()).toMatchObject({ value: "alice" });
    const watch = client.watch({ value: "" }, metadata);
    const texts = collect(watch);
    await eventually(() => expect(timers.pending).toBe(1));
    verifier.keys.set(secret, { verdict: Verdict.REVOKED });
    await timers.pass(60_000);
    expect(await grpcRefusalOf(texts)).toMatchObject({ code: "UNAUTHENTICATED", reason: "CREDENTIAL_INVALID" });
    expect(await grpcRefusalOf(ping())).toMatchObject({ code: status[16], reason: "CREDENTIAL_INVALID" });
    client.close();
    await server.close();
  });
});
