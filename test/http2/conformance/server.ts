/**
 * The server under test of Connect's conformance suite. Reads a ServerCompatRequest from its standard input, writes a
 * ServerCompatResponse to its standard output, each after its length in four bytes, and serves until SIGTERM.
 */
import { once } from "node:events";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { createConnectRouter } from "@connectrpc/connect";
import { compressionGzip } from "@connectrpc/connect-node";
import { DEFAULT_POLICY } from "../../../src/server/config/policy.ts";
import { createPort } from "../../../src/transport/port/port.ts";
import { TlsDoor } from "../../../src/transport/port/tls.ts";
import { createConnectHandler } from "../../../src/transport/router/connect-adapter.ts";
import { deadlineInterceptor } from "../../../src/transport/router/deadline.ts";
import { streamErrorInterceptor } from "../../../src/transport/router/router-errors.ts";
import { TEST_PORT_LIMITS } from "../../../testkit/port-limits.ts";
import {
  type ServerCompatRequest,
  ServerCompatRequestSchema,
  ServerCompatResponseSchema,
} from "./gen/connectrpc/conformance/v1/server_compat_pb.js";
import { ConformanceService } from "./gen/connectrpc/conformance/v1/service_pb.js";
import { conformance, NO_DEADLINE_MS, REGISTRY } from "./service.ts";

const LENGTH_BYTES = 4;

async function readRequest(): Promise<ServerCompatRequest> {
  let bytes = Buffer.alloc(0);
  for (;;) {
    if (bytes.length >= LENGTH_BYTES) {
      const end = LENGTH_BYTES + bytes.readUInt32BE(0);
      if (bytes.length >= end) return fromBinary(ServerCompatRequestSchema, bytes.subarray(LENGTH_BYTES, end));
    }
    const [chunk] = await once(process.stdin, "data");
    bytes = Buffer.concat([bytes, chunk]);
  }
}

const request = await readRequest();
const { serverCreds } = request;
const pem = (bytes: Uint8Array) => Buffer.from(bytes).toString();
const tls = serverCreds && new TlsDoor({ cert: pem(serverCreds.cert), key: pem(serverCreds.key) });
if (request.useTls && tls === undefined) throw new Error("the suite gave no certificate; take a version that does");

// As the server composes its own, with the suite's service.
const router = createConnectRouter({
  interceptors: [deadlineInterceptor, streamErrorInterceptor],
  readMaxBytes: request.messageReceiveLimit || DEFAULT_POLICY.port.maxMessageBytes,
  acceptCompression: [compressionGzip],
  compressMinBytes: Number.MAX_SAFE_INTEGER,
  jsonOptions: { registry: REGISTRY },
});
router.service(ConformanceService, conformance);
const onError = (error: unknown) => console.error(error);
const port = createPort({
  host: "127.0.0.1",
  port: 0,
  tls,
  handler: createConnectHandler({ router, defaultDeadlineMs: NO_DEADLINE_MS, maxDeadlineMs: NO_DEADLINE_MS, onError }),
  limits: { ...TEST_PORT_LIMITS, drainMs: 0 },
  onError,
});
const { host, port: number } = await port.listen();
const response = toBinary(
  ServerCompatResponseSchema,
  create(ServerCompatResponseSchema, { host, port: number, pemCert: serverCreds?.cert ?? new Uint8Array() }),
);
const length = Buffer.alloc(LENGTH_BYTES);
length.writeUInt32BE(response.length);
process.stdout.write(Buffer.concat([length, response]));
process.once("SIGTERM", () => {
  process.stdin.destroy();
  void port.drain();
});
