import { once } from "node:events";
import { type ClientHttp2Session, connect as connectHttp2, constants } from "node:http2";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  BatchVerifyRequestSchema,
  BatchVerifyResponseSchema,
  KeyVerifier,
  type Verdict,
  VerdictSchema,
  VerifyRequestSchema,
  VerifyResponseSchema,
} from "#gen/claviger/v1/key_verifier_pb.js";
import {
  HealthCheckResponse_ServingStatusSchema,
  HealthCheckResponseSchema,
  Health as HealthService,
} from "#gen/grpc/health/v1/health_pb.js";
import { createGrpcJsClient } from "./grpc-js.ts";
import { type RunningServer, startEmbedded } from "./running-server.ts";
import { callOften, DEADLINE_MS, LARGE, SECRET_BYTES, SEEN, TOO_LARGE } from "./seen-by-clients.ts";

const VERIFY = "/claviger.v1.KeyVerifier/Verify";
const BATCH_VERIFY = "/claviger.v1.KeyVerifier/BatchVerify";
const WATCH = "/grpc.health.v1.Health/Watch";

let server: RunningServer;
beforeAll(async () => {
  server = await startEmbedded();
});
afterAll(() => server.close());

const secrets = (count: number) => Array.from({ length: count }, () => ({ secret: "x".repeat(SECRET_BYTES) }));
const nameOf = (verdict: Verdict) => VerdictSchema.value[verdict]?.name;

describe("calls, streams, deadlines and large messages on one connection, then 10,000 calls:", () => {
  it("grpc-js", async () => {
    const client = createGrpcJsClient(server);
    const code = (work: Promise<unknown>) => work.then(() => 0).catch(({ code }) => code);
    const verdict = async () => (await client.call("KeyVerifier/Verify", { secret: server.token })).message.verdict;
    const batch = (count: number) => client.call("KeyVerifier/BatchVerify", { requests: secrets(count) });
    const unary = await verdict();
    const large = (await batch(LARGE)).message.responses as readonly unknown[];
    const stream = client.stream("grpc.health.v1.Health/Watch", {});
    const ended = once(stream, "error");
    const [first] = await once(stream, "data");
    stream.cancel();
    const [error] = await ended;
    const [expired] = await once(
      client.stream("grpc.health.v1.Health/Watch", {}, { timeoutMs: DEADLINE_MS }).resume(),
      "error",
    );
    expect({
      unary,
      large: large.length,
      tooLarge: await code(batch(TOO_LARGE)),
      streamed: first.status,
      canceled: error.code,
      deadline: expired.code,
      calls: await callOften(verdict),
    }).toEqual(SEEN);
    client.close();
  });

  it.each([
    ["connect-es over gRPC", createGrpcTransport],
    [
      "connect-es over Connect",
      (options: Parameters<typeof createGrpcTransport>[0]) => createConnectTransport({ ...options, httpVersion: "2" }),
    ],
  ] as const)("%s", async (_, open) => {
    const sessionManager = new Http2SessionManager(server.process.url);
    const transport = open({ baseUrl: server.process.url, sessionManager });
    const [verifier, health] = [createClient(KeyVerifier, transport), createClient(HealthService, transport)];
    const headers = { authorization: `Bearer ${server.token}` };
    const code = (work: Promise<unknown>) => work.then(() => 0).catch((error) => ConnectError.from(error).code);
    const verdict = async () => nameOf((await verifier.verify({ secret: server.token }, { headers })).verdict);
    const batch = (count: number) => verifier.batchVerify({ requests: secrets(count) }, { headers });
    const unary = await verdict();
    const left = new AbortController();
    let streamed: string | undefined;
    const watch = async (options: object, onFirst: () => void) => {
      for await (const { status } of health.watch({}, options)) {
        streamed = HealthCheckResponse_ServingStatusSchema.value[status]?.name;
        onFirst();
      }
    };
    expect({
      unary,
      large: (await batch(LARGE)).responses.length,
      tooLarge: await code(batch(TOO_LARGE)),
      canceled: await code(watch({ signal: left.signal }, () => left.abort())),
      streamed,
      deadline: await code(watch({ timeoutMs: DEADLINE_MS }, () => undefined)),
      calls: await callOften(verdict),
    }).toEqual(SEEN);
    sessionManager.abort();
  });

  it("node:http2", async () => {
    const session = connectHttp2(server.process.url);
    const verify = toBinary(VerifyRequestSchema, create(VerifyRequestSchema, { secret: server.token }));
    const verdict = async () => {
      const { message } = await callRaw(session, VERIFY, verify);
      return nameOf(fromBinary(VerifyResponseSchema, message).verdict);
    };
    const batch = (count: number) => {
      const request = create(BatchVerifyRequestSchema, { requests: secrets(count) });
      return callRaw(session, BATCH_VERIFY, toBinary(BatchVerifyRequestSchema, request));
    };
    const unary = await verdict();
    const large = fromBinary(BatchVerifyResponseSchema, (await batch(LARGE)).message).responses.length;
    const expired = await callRaw(session, WATCH, new Uint8Array(), { "grpc-timeout": `${DEADLINE_MS}m` });
    const { status } = fromBinary(HealthCheckResponseSchema, expired.message);
    // There is no answer to a cancelled stream: its own code, and the calls after it, are all that a client sees.
    const stream = session.request({
      ":method": "POST",
      ":path": WATCH,
      "content-type": "application/grpc",
      te: "trailers",
    });
    stream.end(frameOf(new Uint8Array()));
    await once(stream, "data");
    stream.close(constants.NGHTTP2_CANCEL);
    await once(stream, "close");
    expect({
      unary,
      large,
      tooLarge: (await batch(TOO_LARGE)).status,
      streamed: HealthCheckResponse_ServingStatusSchema.value[status]?.name,
      canceled: stream.rstCode === constants.NGHTTP2_CANCEL ? SEEN.canceled : stream.rstCode,
      deadline: expired.status,
      calls: await callOften(verdict),
    }).toEqual(SEEN);
    session.destroy();
  });
});

function frameOf(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** One gRPC call: its status, and its first message. */
async function callRaw(session: ClientHttp2Session, path: string, message: Uint8Array, more: object = {}) {
  const stream = session.request({
    ...{ ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers" },
    authorization: `Bearer ${server.token}`,
    ...more,
  });
  const chunks: Buffer[] = [];
  let status: unknown;
  const note = (headers: Record<string, unknown>) => {
    status = headers["grpc-status"] ?? status;
  };
  stream
    .on("response", note)
    .on("trailers", note)
    .on("data", (chunk: Buffer) => chunks.push(chunk));
  stream.end(frameOf(message));
  await once(stream, "close");
  const answer = Buffer.concat(chunks);
  return {
    status: Number(status),
    message: answer.length < 5 ? answer : answer.subarray(5, 5 + answer.readUInt32BE(1)),
  };
}
