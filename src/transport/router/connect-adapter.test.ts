import { once } from "node:events";
import * as http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ConnectRouter,
  createClient,
  createConnectRouter,
  type HandlerContext,
  type ServiceImpl,
} from "@connectrpc/connect";
import { encodeEnvelope } from "@connectrpc/connect/protocol";
import { errorFromJsonBytes } from "@connectrpc/connect/protocol-connect";
import { findTrailerError } from "@connectrpc/connect/protocol-grpc";
import { trailerParse } from "@connectrpc/connect/protocol-grpc-web";
import {
  compressionGzip,
  connectNodeAdapter,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import * as grpc from "@grpc/grpc-js";
import { expect, onTestFinished, test, vi } from "vitest";
import { KeyVerifier, VerifyRequestSchema, VerifyResponseSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { Health } from "#gen/grpc/health/v1/health_pb.js";
import { ServerReflection } from "#gen/grpc/reflection/v1/reflection_pb.js";
import { TEST_PORT_LIMITS } from "../../../testkit/port-limits.ts";
import { callOf } from "../../rpc/call.ts";
import type { HttpHandler } from "../http/exchange.ts";
import { createPort } from "../port/port.ts";
import { createConnectHandler } from "./connect-adapter.ts";
import { deadlineInterceptor } from "./deadline.ts";

const verifyPath = "/claviger.v1.KeyVerifier/Verify";
const readMaxBytes = 64 * 1024;

type Verify = NonNullable<ServiceImpl<typeof KeyVerifier>["verify"]>;

interface ServeOptions {
  readonly wrap?: (handler: HttpHandler) => HttpHandler;
  verify?: Verify;
  routes?: (router: ConnectRouter) => void;
  defaultDeadlineMs?: number;
  maxDeadlineMs?: number;
}

async function serve(options: ServeOptions = {}) {
  const router = createConnectRouter({
    readMaxBytes,
    acceptCompression: [compressionGzip],
    compressMinBytes: Number.MAX_SAFE_INTEGER,
    interceptors: [deadlineInterceptor],
  });
  const errors: unknown[] = [];
  router.service(KeyVerifier, { verify: options.verify ?? (() => ({ revision: 7n })) });
  options.routes?.(router);
  const adapter = createConnectHandler({
    router,
    defaultDeadlineMs: options.defaultDeadlineMs ?? 10_000,
    maxDeadlineMs: options.maxDeadlineMs ?? 10_000,
    onError: (error) => errors.push(error),
  });
  const port = createPort({
    host: "127.0.0.1",
    port: 0,
    handler: (options.wrap ?? ((inner) => inner))(adapter),
    limits: { ...TEST_PORT_LIMITS, drainMs: 0 },
  });
  const { url } = await port.listen();
  onTestFinished(() => port.drain());
  return { url, errors };
}

/** A raw HTTP/2 client: one stream, every frame of the answer to be seen. */
function openStream(url: string, headers: http2.OutgoingHttpHeaders) {
  const session = http2.connect(url);
  onTestFinished(() => session.destroy());
  session.on("error", () => {});
  const stream = session.request({ ":method": "POST", ":path": verifyPath, te: "trailers", ...headers });
  stream.on("error", () => {});
  return { session, stream };
}

interface Answer {
  readonly status: number;
  /** The HEADERS frame had END_STREAM. */
  readonly isTrailersOnly: boolean;
  readonly headers: Headers;
  readonly trailers: Headers;
  readonly body: Buffer;
}

async function callRaw(url: string, headers: http2.OutgoingHttpHeaders, body?: Uint8Array): Promise<Answer> {
  const { stream } = openStream(url, headers);
  stream.end(body);
  return readAnswer(stream);
}

async function readAnswer(stream: http2.ClientHttp2Stream): Promise<Answer> {
  let trailers = new Headers();
  stream.on("trailers", (fields) => {
    trailers = toHeaders(fields);
  });
  const [fields, flags] = await once(stream, "response");
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  const isTrailersOnly = (flags & http2.constants.NGHTTP2_FLAG_END_STREAM) !== 0;
  const status = Number(fields[":status"]);
  return { status, isTrailersOnly, headers: toHeaders(fields), trailers, body: Buffer.concat(chunks) };
}

function toHeaders(fields: http2.IncomingHttpHeaders): Headers {
  return new Headers(
    Object.entries(fields).flatMap(([name, value]): [string, string][] =>
      name.startsWith(":") ? [] : [[name, String(value)]],
    ),
  );
}

/** The three protocols: how a message is framed, and where an error is. */
const protocols = {
  grpc: {
    contentType: "application/grpc+proto",
    timeout: "grpc-timeout",
    encoding: "grpc-encoding",
    frame: (message: Uint8Array) => encodeEnvelope(0, message),
    errorIn: ({ isTrailersOnly, headers, trailers }: Answer) => findTrailerError(isTrailersOnly ? headers : trailers),
  },
  grpcWeb: {
    contentType: "application/grpc-web+proto",
    timeout: "grpc-timeout",
    encoding: "grpc-encoding",
    frame: (message: Uint8Array) => encodeEnvelope(0, message),
    errorIn: ({ isTrailersOnly, headers, body }: Answer) =>
      findTrailerError(isTrailersOnly ? headers : trailerParse(body.subarray(5))),
  },
  connect: {
    contentType: "application/proto",
    timeout: "connect-timeout-ms",
    encoding: "content-encoding",
    frame: (message: Uint8Array) => message,
    errorIn: ({ body }: Answer) => errorFromJsonBytes(body, undefined, new ConnectError("not a Connect error")),
  },
} as const;

type Protocol = keyof typeof protocols;

function request(secret: string): Uint8Array {
  return toBinary(VerifyRequestSchema, create(VerifyRequestSchema, { secret }));
}

async function errorOf(call: Promise<unknown>): Promise<ConnectError> {
  return call.then(
    () => expect.unreachable("the call succeeded"),
    (error) => ConnectError.from(error),
  );
}

test.each([
  ["gRPC", "2", createGrpcTransport],
  ["gRPC-Web", "2", createGrpcWebTransport],
  ["gRPC-Web", "1.1", createGrpcWebTransport],
  ["Connect", "2", createConnectTransport],
  ["Connect", "1.1", createConnectTransport],
] as const)(
  "%s is served over HTTP/%s, errors with their details included",
  async (_, httpVersion, createTransport) => {
    const { url } = await serve({
      verify({ secret }) {
        if (secret === "") return { revision: 7n };
        throw new ConnectError("no", Code.NotFound, undefined, [
          { desc: ErrorInfoSchema, value: { domain: "claviger", reason: "KEY_NOT_FOUND" } },
        ]);
      },
    });
    const client = createClient(KeyVerifier, createTransport({ baseUrl: url, httpVersion: httpVersion as "2" }));
    expect((await client.verify({})).revision).toBe(7n);
    const error = await errorOf(client.verify({ secret: "x" }));
    expect([error.code, error.rawMessage]).toEqual([Code.NotFound, "no"]);
    expect(error.findDetails(ErrorInfoSchema).map(({ reason }) => reason)).toEqual(["KEY_NOT_FOUND"]);
  },
);

test("Connect's JSON is served to plain fetch", async () => {
  const { url } = await serve();
  const headers = { "content-type": "application/json" };
  const response = await fetch(url + verifyPath, { method: "POST", headers, body: '{"secret": ""}' });
  expect([response.status, await response.json()]).toEqual([200, { revision: "7" }]);
});

test("a unary gRPC error leaves as one HEADERS frame that ends the stream, a result as headers and trailers", async () => {
  const { url } = await serve({
    verify({ secret }) {
      if (secret === "bad") throw new ConnectError("no", Code.NotFound, { "x-hint": "here" });
      return {};
    },
  });
  const headers = { "content-type": "application/grpc" };
  const error = await callRaw(url, headers, encodeEnvelope(0, request("bad")));
  expect(error.isTrailersOnly).toBe(true);
  expect(Object.fromEntries(error.headers)).toMatchObject({
    "content-type": "application/grpc+proto",
    "grpc-status": "5",
    "grpc-message": "no",
    "x-hint": "here",
  });
  const result = await callRaw(url, headers, encodeEnvelope(0, request("")));
  expect(result.isTrailersOnly).toBe(false);
  expect(result.trailers.get("grpc-status")).toBe("0");
  expect(fromBinary(VerifyResponseSchema, result.body.subarray(5)).revision).toBe(0n);
});

/** One unary call of grpc-js; its status. */
async function callGrpcJs(url: string, { path = verifyPath, secret = "", options = {} }): Promise<grpc.status> {
  const client = new grpc.Client(url.replace("http://", ""), grpc.credentials.createInsecure(), options);
  onTestFinished(() => client.close());
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      path,
      (message: Uint8Array) => Buffer.from(message),
      (bytes) => bytes,
      request(secret),
      (error) => resolve(error?.code ?? grpc.status.OK),
    );
  });
}

test("grpc-js sees the status of calls that are refused before their request is read", async () => {
  const { url } = await serve();
  expect(await callGrpcJs(url, {})).toBe(grpc.status.OK);
  expect(await callGrpcJs(url, { path: "/claviger.v1.KeyVerifier/Nothing" })).toBe(grpc.status.UNIMPLEMENTED);
  expect(await callGrpcJs(url, { secret: "x".repeat(1024 * 1024) })).toBe(grpc.status.RESOURCE_EXHAUSTED);
});

/** Connect's own adapter, on Node's own server. */
async function serveStock(verify: Verify) {
  const server = http2.createServer(
    connectNodeAdapter({ routes: (router) => router.service(KeyVerifier, { verify }) }),
  );
  onTestFinished(() => void server.close());
  await once(server.listen(0, "127.0.0.1"), "listening");
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

/** One call of grpc-js with a retry policy for UNAVAILABLE; how often the handler ran, and the outcome. */
async function callWithRetries(adapter: "own" | "stock") {
  let attempts = 0;
  const verify: Verify = () => {
    attempts += 1;
    if (attempts < 3) throw new ConnectError("not now", Code.Unavailable);
    return { revision: 7n };
  };
  const { url } = await (adapter === "own" ? serve({ verify }) : serveStock(verify));
  const retryPolicy = {
    maxAttempts: 4,
    initialBackoff: "0.01s",
    maxBackoff: "0.01s",
    backoffMultiplier: 1,
    retryableStatusCodes: ["UNAVAILABLE"],
  };
  const methodConfig = [{ name: [{ service: "claviger.v1.KeyVerifier" }], retryPolicy }];
  const code = await callGrpcJs(url, { options: { "grpc.service_config": JSON.stringify({ methodConfig }) } });
  return { attempts, code };
}

test("a grpc-js client with a retry policy retries an UNAVAILABLE until it is served", async () => {
  expect(await callWithRetries("own")).toEqual({ attempts: 3, code: grpc.status.OK });
});

test("control: behind connectNodeAdapter the same client does not retry", async () => {
  expect(await callWithRetries("stock")).toEqual({ attempts: 1, code: grpc.status.UNAVAILABLE });
});

const routerErrors: [string, Code, string, (protocol: Protocol) => [http2.OutgoingHttpHeaders, Uint8Array]][] = [
  ["a message too large", Code.ResourceExhausted, "MESSAGE_TOO_LARGE", () => [{}, request("x".repeat(readMaxBytes))]],
  ["an undecodable message", Code.InvalidArgument, "INVALID_FIELD", () => [{}, Uint8Array.of(0x0a, 0x7f)]],
  [
    "a malformed timeout",
    Code.InvalidArgument,
    "INVALID_FIELD",
    (p) => [{ [protocols[p].timeout]: "soon" }, request("")],
  ],
  [
    "an unknown compression",
    Code.Unimplemented,
    "NOT_IMPLEMENTED",
    (p) => [{ [protocols[p].encoding]: "x" }, request("")],
  ],
  [
    "a method not built yet",
    Code.Unimplemented,
    "NOT_IMPLEMENTED",
    () => [{ ":path": "/claviger.v1.KeyVerifier/BatchVerify" }, Uint8Array.of()],
  ],
  [
    "an unknown method",
    Code.Unimplemented,
    "NOT_IMPLEMENTED",
    () => [{ ":path": "/claviger.v1.KeyVerifier/Nothing" }, request("")],
  ],
  ["an exception", Code.Internal, "INTERNAL", () => [{}, request("throw")]],
  ["a fault without a reason", Code.Internal, "INTERNAL", () => [{}, request("fault")]],
];

test.each(
  routerErrors.flatMap(([name, ...rest]) =>
    (["grpc", "grpcWeb", "connect"] as const).map((protocol) => [name, protocol, ...rest] as const),
  ),
)("%s is refused over %s with ErrorInfo", async (_, protocol, code, reason, make) => {
  const { url } = await serve({
    verify({ secret }) {
      if (secret === "throw") throw new TypeError("an inner thought");
      if (secret === "fault") throw new ConnectError("an inner thought", Code.Internal);
      return {};
    },
  });
  const { contentType, frame, errorIn } = protocols[protocol];
  const [headers, message] = make(protocol);
  const answer = await callRaw(url, { "content-type": contentType, ...headers }, frame(message));
  const error = errorIn(answer);
  const infos = error?.findDetails(ErrorInfoSchema).map((info) => [info.domain, info.reason]);
  expect([error?.code, infos]).toEqual([code, [["claviger", reason]]]);
  expect(error?.rawMessage).not.toContain("inner thought");
  if (protocol === "grpc") expect(answer.isTrailersOnly).toBe(true);
});

test("a body that is not JSON is refused without quoting it", async () => {
  const { url } = await serve();
  const headers = { "content-type": "application/json" };
  for (const body of ['{"secret": clv_live_x}', '{"requiredScopes": "clv_live_x"}']) {
    const response = await fetch(url + verifyPath, { method: "POST", headers, body });
    expect(response.status).toBe(400);
    expect(await response.text()).not.toContain("clv_live");
  }
});

test.each([
  ["a unary call", verifyPath, "application/proto", (bytes: Buffer) => bytes],
  ["a stream", "/grpc.health.v1.Health/Watch", "application/connect+proto", (bytes: Buffer) => bytes.subarray(5)],
])("%s whose body is too large and still being sent gets its refusal over HTTP/1.1", async (_, path, type, payload) => {
  const { url } = await serve({ routes: (router) => router.service(Health, {}) });
  async function* chunks() {
    yield Uint8Array.of(0, 0, 2, 0, 0);
    for (let i = 0; i < 8; i += 1) yield new Uint8Array(16 * 1024);
  }
  const init = {
    method: "POST",
    headers: { "content-type": type },
    body: ReadableStream.from(chunks()),
    duplex: "half",
  };
  const response = await fetch(url + path, init as RequestInit);
  const answer = payload(Buffer.from(await response.arrayBuffer())).toString();
  expect(answer).toContain('"code":"resource_exhausted"');
  expect(answer).toContain("google.rpc.ErrorInfo");
});

test.each(["grpc", "grpcWeb", "connect"] as const)(
  "an HTTP/2 client that goes on sending after its refusal over %s is told to stop",
  async (protocol) => {
    const { url } = await serve();
    const { contentType, errorIn } = protocols[protocol];
    const { stream } = openStream(url, { "content-type": contentType });
    const closed = once(stream, "close");
    const answer = readAnswer(stream);
    stream.write(encodeEnvelope(0, new Uint8Array(readMaxBytes + 1)));
    expect(errorIn(await answer)?.code).toBe(Code.ResourceExhausted);
    await closed;
    expect(stream.rstCode).toBe(http2.constants.NGHTTP2_NO_ERROR);
  },
);

test("an HTTP/2 stream closes on the server too after a refused body larger than the flow-control window", async () => {
  const closed = Promise.withResolvers<undefined>();
  const { url } = await serve({
    wrap: (handler) => (exchange) => {
      exchange.signal.addEventListener("abort", () => closed.resolve(undefined));
      handler(exchange);
    },
  });
  const { stream } = openStream(url, { "content-type": protocols.grpc.contentType });
  const answer = readAnswer(stream);
  stream.write(encodeEnvelope(0, new Uint8Array(1024 * 1024)));
  expect(protocols.grpc.errorIn(await answer)?.code).toBe(Code.ResourceExhausted);
  await closed.promise;
});

test("an unknown path is 404 with Connect's JSON for everything that is not gRPC", async () => {
  const { url } = await serve();
  const response = await fetch(`${url}/nothing`);
  expect([response.status, await response.json()]).toEqual([404, expect.objectContaining({ code: "unimplemented" })]);
  expect((await fetch(`${url}/nothing`, { method: "HEAD" })).status).toBe(404);
});

test("a wrong HTTP method or content type stays a plain HTTP refusal", async () => {
  const { url } = await serve();
  expect((await fetch(url + verifyPath)).status).toBe(405);
  const response = await fetch(url + verifyPath, { method: "POST", body: "x", headers: { "content-type": "text/x" } });
  expect(response.status).toBe(415);
});

test("a request with an authority that is none is 400", async () => {
  const { url } = await serve();
  expect((await callRaw(url, { ":authority": "[", "content-type": "application/proto" })).status).toBe(400);
});

test.each<[string, Record<string, string>, number]>([
  ["without a timeout gets the default", {}, 5_000],
  ["keeps a timeout below the maximum", { "grpc-timeout": "2S" }, 2_000],
  ["is cut to the maximum", { "grpc-timeout": "1H" }, 8_000],
])("a unary call %s", async (_, headers, granted) => {
  let timeoutMs: number | undefined;
  const verify = (_request: unknown, context: HandlerContext) => {
    timeoutMs = context.timeoutMs();
    return {};
  };
  const { url } = await serve({ verify, defaultDeadlineMs: 5_000, maxDeadlineMs: 8_000 });
  await callRaw(url, { "content-type": "application/grpc", ...headers }, encodeEnvelope(0, request("")));
  expect(timeoutMs).toBeGreaterThan(granted - 1_000);
  expect(timeoutMs).toBeLessThanOrEqual(granted);
});

test.each(["grpc", "grpcWeb", "connect"] as const)(
  "the deadline is answered over %s though the handler works on, and its late failure harms nobody",
  async (protocol) => {
    const late = Promise.withResolvers<never>();
    const unhandled = vi.fn();
    process.on("unhandledRejection", unhandled);
    onTestFinished(() => void process.off("unhandledRejection", unhandled));
    const { url } = await serve({ verify: () => late.promise, defaultDeadlineMs: 20 });
    const { contentType, frame, errorIn } = protocols[protocol];
    const error = errorIn(await callRaw(url, { "content-type": contentType }, frame(request(""))));
    expect(error?.code).toBe(Code.DeadlineExceeded);
    expect(error?.findDetails(ErrorInfoSchema)[0]?.reason).toBe("DEADLINE_EXCEEDED");
    late.reject(new Error("too late"));
    await new Promise(setImmediate);
    expect(unhandled).not.toHaveBeenCalled();
  },
);

test("a body that does not all arrive within the deadline is answered too", async () => {
  const { url } = await serve({ defaultDeadlineMs: 20 });
  const { stream } = openStream(url, { "content-type": "application/grpc" });
  const response = once(stream, "response");
  stream.write(encodeEnvelope(0, request("")).subarray(0, 3));
  const [fields] = await response;
  expect(fields["grpc-status"]).toBe(String(Code.DeadlineExceeded));
});

test("a client that resets its call cancels the handler, and is no failure", async () => {
  const begun = Promise.withResolvers<AbortSignal>();
  const { url, errors } = await serve({
    verify: ({ secret }, { signal }) => {
      if (secret === "") return { revision: 7n };
      begun.resolve(signal);
      return new Promise(() => {});
    },
  });
  const { session, stream } = openStream(url, { "content-type": "application/grpc" });
  stream.end(encodeEnvelope(0, request("hang")));
  const signal = await begun.promise;
  stream.close(http2.constants.NGHTTP2_CANCEL);
  await vi.waitFor(() => expect(signal.aborted).toBe(true));
  const next = session.request({ ":method": "POST", ":path": verifyPath, "content-type": "application/json" });
  next.end("{}");
  expect(await text(next)).toBe('{"revision":"7"}');
  expect(errors).toEqual([]);
});

test("a client that resets at any moment of a call never harms the server", async () => {
  const { url, errors } = await serve({ verify: async () => new Promise((resolve) => setImmediate(resolve, {})) });
  const session = http2.connect(url);
  onTestFinished(() => session.destroy());
  const headers = { ":method": "POST", ":path": verifyPath, "content-type": "application/grpc" };
  for (let turns = 0; turns < 100; turns += 1) {
    const stream = session.request(headers);
    const closed = once(stream, "close");
    stream.on("error", () => {});
    stream.end(encodeEnvelope(0, request("")));
    stream.resume();
    for (let turn = 0; turn < turns % 10; turn += 1) await new Promise(setImmediate);
    stream.close(http2.constants.NGHTTP2_CANCEL);
    await closed;
  }
  const answer = await callRaw(url, { "content-type": "application/grpc" }, encodeEnvelope(0, request("")));
  expect(answer.trailers.get("grpc-status")).toBe("0");
  expect(errors).toEqual([]);
});

const validHost = "x".repeat(16 * 1024);

async function serveEndlessStream() {
  const state = { sent: 0, ended: false };
  const { url } = await serve({
    routes(router) {
      router.rpc(ServerReflection.method.serverReflectionInfo, async function* () {
        try {
          for (; ; state.sent += 1) yield { validHost };
        } finally {
          state.ended = true;
        }
      });
    },
  });
  const path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
  return { state, ...openStream(url, { "content-type": "application/grpc", ":path": path }) };
}

test("a stream is written no faster than its client reads, and ends when the client leaves", async () => {
  const { state, stream } = await serveEndlessStream();
  await once(stream, "response");
  await vi.waitFor(() => expect(state.sent).toBeGreaterThan(1));
  let seen = -1;
  await vi.waitFor(() => {
    const before = seen;
    seen = state.sent;
    expect(seen).toBe(before);
  });
  expect(seen).toBeLessThan(20);
  stream.resume();
  await vi.waitFor(() => expect(state.sent).toBeGreaterThan(seen + 20));
  stream.close(http2.constants.NGHTTP2_CANCEL);
  await vi.waitFor(() => expect(state.ended).toBe(true));
});

test("a stream sends its headers with the first message, and a late error in its trailers", async () => {
  const proceed = Promise.withResolvers<void>();
  const { url } = await serve({
    routes(router) {
      router.rpc(ServerReflection.method.serverReflectionInfo, async function* () {
        yield { validHost: "first" };
        await proceed.promise;
        throw new ConnectError("late", Code.Unavailable);
      });
    },
  });
  const path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
  const { stream } = openStream(url, { "content-type": "application/grpc", ":path": path });
  const trailers = once(stream, "trailers");
  await once(stream, "response");
  await once(stream, "data");
  proceed.resolve();
  const [fields] = await trailers;
  expect(findTrailerError(toHeaders(fields))?.code).toBe(Code.Unavailable);
});

test("a handler learns its client's address", async () => {
  let address: string | undefined;
  const verify = (_request: unknown, { values }: HandlerContext) => {
    address = callOf(values).caller.address;
    return {};
  };
  const { url } = await serve({ verify });
  for (const httpVersion of ["1.1", "2"] as const) {
    address = undefined;
    await createClient(KeyVerifier, createConnectTransport({ baseUrl: url, httpVersion })).verify({});
    expect(address).toBe("127.0.0.1");
  }
});
