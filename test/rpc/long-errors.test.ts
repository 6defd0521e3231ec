import { connect as connectHttp2, constants, type IncomingHttpHeaders } from "node:http2";
import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { expect, it, onTestFinished } from "vitest";
import { ListKeysRequestSchema, UpdateKeyRequestSchema } from "#gen/claviger/v1/key_management_pb.js";
import { HealthCheckRequestSchema } from "#gen/grpc/health/v1/health_pb.js";
import { describeOnEachStorage } from "../../testkit/claviger.ts";

/** As long as requests take, in characters of which each is percent-encoded. */
const LONG = "é".repeat(25_000);
const KEY_ID = `key_${"0".repeat(26)}`;
/** Node (26) sends no longer header list. */
const MOST_HEADER_BYTES = 64 * 1024;

function message<Schema extends DescMessage>(schema: Schema, init: MessageInitShape<Schema>): Uint8Array {
  return toBinary(schema, create(schema, init));
}

const CALLS = [
  ["anybody's, for health", "grpc.health.v1.Health/Check", message(HealthCheckRequestSchema, { service: LONG }), {}],
  [
    "an update mask",
    "claviger.v1.KeyManagement/UpdateKey",
    message(UpdateKeyRequestSchema, { key: { id: KEY_ID }, updateMask: { paths: [LONG] } }),
    {},
  ],
  [
    "names of labels",
    "claviger.v1.KeyManagement/ListKeys",
    message(ListKeysRequestSchema, {
      labelSelector: Object.fromEntries([...LONG].map((_, at) => [`é${at}`, ""]).slice(0, 4000)),
    }),
    {},
  ],
  [
    "one name of a label",
    "claviger.v1.KeyManagement/ListKeys",
    message(ListKeysRequestSchema, { labelSelector: { [LONG]: "" } }),
    {},
  ],
  [
    "a compression",
    "grpc.health.v1.Health/Check",
    message(HealthCheckRequestSchema, {}),
    { "grpc-encoding": "x".repeat(15_000) },
  ],
  [
    "a timeout",
    "grpc.health.v1.Health/Check",
    message(HealthCheckRequestSchema, {}),
    { "grpc-timeout": "x".repeat(15_000) },
  ],
] as const;

describeOnEachStorage("An error about a long request", (claviger) => {
  it.each(CALLS)("is short, and the connection serves on: %s", async (_, path, request, more) => {
    const session = connectHttp2(claviger().url);
    onTestFinished(() => session.destroy());
    session.on("error", () => undefined);
    const call = (method: string, body: Uint8Array, headers: Readonly<Record<string, string>> = {}) =>
      new Promise<IncomingHttpHeaders | undefined>((resolve) => {
        const stream = session.request({
          [constants.HTTP2_HEADER_METHOD]: "POST",
          [constants.HTTP2_HEADER_PATH]: `/${method}`,
          "content-type": "application/grpc+proto",
          te: "trailers",
          authorization: `Bearer ${claviger().adminToken}`,
          ...headers,
        });
        let answer: IncomingHttpHeaders | undefined;
        stream.on("response", (head) => {
          answer = { ...answer, ...head };
        });
        stream.on("trailers", (trailers) => {
          answer = { ...answer, ...trailers };
        });
        stream.on("error", () => undefined).on("close", () => resolve(answer));
        const prefix = Buffer.alloc(5);
        prefix.writeUInt32BE(body.length, 1);
        stream.resume().end(Buffer.concat([prefix, body]));
      });
    const answer = await call(path, request, more);
    expect([Code.InvalidArgument, Code.NotFound, Code.Unimplemented]).toContain(Number(answer?.["grpc-status"]));
    expect(JSON.stringify(answer).length).toBeLessThan(MOST_HEADER_BYTES / 2);
    const health = await call("grpc.health.v1.Health/Check", message(HealthCheckRequestSchema, {}));
    expect(health?.["grpc-status"]).toBe("0");
    expect(session.destroyed).toBe(false);
  });
});
