import { once } from "node:events";
import { connect, constants } from "node:http2";
import { Code, ConnectError, createClient, createConnectRouter, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { KeyVerifier } from "#gen/claviger/v1/key_verifier_pb.js";
import { ErrorInfoSchema, RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { Health } from "#gen/grpc/health/v1/health_pb.js";
import { TEST_PORT_LIMITS } from "../../../testkit/port-limits.ts";
import type { Http2Stream } from "../../http2/stream.ts";
import { Http2Exchange } from "../http/http2-exchange.ts";
import { createPort } from "../port/port.ts";
import { createConnectHandler } from "../router/connect-adapter.ts";
import { createHealth } from "../services/health.ts";
import { Door } from "./door.ts";

const WAYS: readonly (readonly [string, () => Transport])[] = [
  ["gRPC", () => createGrpcTransport({ baseUrl: url })],
  ["gRPC-Web on HTTP/2", () => createGrpcWebTransport({ baseUrl: url, httpVersion: "2" })],
  ["gRPC-Web on HTTP/1.1", () => createGrpcWebTransport({ baseUrl: url, httpVersion: "1.1" })],
  ["Connect on HTTP/2", () => createConnectTransport({ baseUrl: url, httpVersion: "2" })],
  ["Connect on HTTP/1.1", () => createConnectTransport({ baseUrl: url, httpVersion: "1.1" })],
];

const VERIFY_PATH = "/claviger.v1.KeyVerifier/Verify";

let refused: string[];
let served: number;
let overloaded: boolean;
let routed: boolean[];
let overloadedByHealth: boolean;
let streams: Http2Stream[];
let url: string;

beforeEach(async () => {
  [refused, served, overloaded, overloadedByHealth, routed, streams] = [[], 0, true, false, [], []];
  const router = createConnectRouter();
  router.service(KeyVerifier, {
    verify: () => {
      served += 1;
      return {};
    },
  });
  createHealth({ services: [] }).routes(router);
  const door = new Door({
    router,
    isOverloaded(_, isRouted) {
      routed.push(isRouted);
      return overloaded;
    },
    isDirect: ({ headers }) => headers.get("content-type") === "application/grpc+proto",
    isOverloadedByHealth: () => overloadedByHealth,
    enter: (_, askedId) => askedId ?? "own",
    onRefused: (method) => refused.push(method),
  });
  const deadlines = { defaultDeadlineMs: 10_000, maxDeadlineMs: 10_000 };
  const serve = createConnectHandler({ router, ...deadlines });
  const take = door.streams((stream) => serve(new Http2Exchange(stream)));
  const port = createPort({
    ...{ host: "127.0.0.1", port: 0, handler: door.requests(serve) },
    streams(stream) {
      streams.push(stream);
      take(stream);
    },
    limits: { ...TEST_PORT_LIMITS, drainMs: 0 },
  });
  ({ url } = await port.listen());
  onTestFinished(() => port.drain());
});

describe.each(WAYS)("with too much to do, over %s", (way, transport) => {
  it("a call is refused as OVERLOADED with when to retry, nothing is made of it, and the next is answered", async () => {
    const client = createClient(KeyVerifier, transport());
    let head = new Headers();
    const onHeader = (headers: Headers) => {
      head = headers;
    };
    const asked = { headers: { "x-request-id": "asked" }, onHeader };
    const error = await client.verify({ secret: "s" }, asked).then(
      () => expect.unreachable("the call succeeded"),
      (thrown) => ConnectError.from(thrown),
    );
    expect(error.code).toBe(Code.Unavailable);
    expect(routed).toEqual([way !== "gRPC"]);
    expect(error.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: "OVERLOADED" }]);
    expect(error.findDetails(RetryInfoSchema)).toHaveLength(1);
    expect(head.get("x-request-id") ?? error.metadata.get("x-request-id")).toBe("asked");
    expect({ refused, served }).toEqual({ refused: ["claviger.v1.KeyVerifier/Verify"], served: 0 });
    overloaded = false;
    await client.verify({ secret: "s" });
    expect(served).toBe(1);
  });

  it("one for health is answered, unless health is what there is too much of", async () => {
    const { check } = createClient(Health, transport());
    await check({});
    expect(refused).toEqual([]);
    overloadedByHealth = true;
    await expect(check({})).rejects.toThrow("Retry in a moment");
    expect(refused).toEqual(["grpc.health.v1.Health/Check"]);
  });
});

it("a probe gets past what refuses calls, and a flood of probes does not", async () => {
  const served = (await fetch(`${url}/readyz`)).status;
  overloadedByHealth = true;
  expect([served, (await fetch(`${url}/readyz`)).status]).toEqual([404, 503]);
  expect(refused).toEqual(["/readyz"]);
});

it("a call that its client takes back as soon as it begins is refused in vain, and the next is answered", async () => {
  const session = connect(url);
  onTestFinished(() => session.destroy());
  const head = { [constants.HTTP2_HEADER_METHOD]: "POST", [constants.HTTP2_HEADER_PATH]: VERIFY_PATH };
  for (let call = 0; call < 10; call++) {
    session
      .request(head, { endStream: false })
      .on("error", () => undefined)
      .close(constants.NGHTTP2_CANCEL);
  }
  await expect.poll(() => refused.length).toBe(10);
  overloaded = false;
  await createClient(KeyVerifier, createGrpcTransport({ baseUrl: url })).verify({ secret: "s" });
  expect(served).toBe(1);
});

it("a gRPC call is refused as Trailers-Only, also while its request has not come, and its stream ends", async () => {
  const session = connect(url);
  onTestFinished(() => session.destroy());
  const stream = session.request(
    {
      [constants.HTTP2_HEADER_METHOD]: "POST",
      [constants.HTTP2_HEADER_PATH]: VERIFY_PATH,
      "content-type": "application/grpc",
    },
    { endStream: false },
  );
  const [, flags] = await once(stream, "response");
  expect(flags & constants.NGHTTP2_FLAG_END_STREAM).not.toBe(0);
  await once(stream.resume(), "close");
  expect(stream.rstCode).toBe(constants.NGHTTP2_NO_ERROR);
});

describe("of a request that is refused", () => {
  const send = async (bytes: number) => {
    const session = connect(url);
    onTestFinished(() => session.destroy());
    const head = { [constants.HTTP2_HEADER_METHOD]: "POST", [constants.HTTP2_HEADER_PATH]: VERIFY_PATH };
    const stream = session.request(head).end(Buffer.alloc(bytes));
    await once(stream.resume(), "close");
    return session.socket.bytesWritten;
  };

  it("a short body does not keep its stream: it is over at once", async () => {
    await send(20_000);
    expect(streams.map(({ isClosed }) => isClosed)).toEqual([true]);
  });

  it("a long one is not: its client is held, and told to stop", async () => {
    expect(await send(1_000_000)).toBeLessThan(100_000);
  });
});

it("a call of a path that no method has is refused as well", async () => {
  const post = () => fetch(`${url}/no.such.Service/Method`, { method: "POST" });
  expect((await post()).status).toBe(503);
  expect(refused).toEqual(["unknown"]);
  overloaded = false;
  expect((await post()).status).toBe(404);
});
