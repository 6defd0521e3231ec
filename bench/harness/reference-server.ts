/** `node reference-server.ts bare|sketch|connect|grpc-js`: unary gRPC at its least, for comparison. Prints its address. */
import { hash } from "node:crypto";
import { createServer, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import {
  KeyVerifier,
  Verdict,
  VerifyRequestSchema,
  type VerifyResponse,
  VerifyResponseSchema,
} from "#gen/claviger/v1/key_verifier_pb.js";

const PATH = fileURLToPath(import.meta.url);
/** An empty message. */
const PREFIX_BYTES = 5;
const EMPTY = Buffer.alloc(PREFIX_BYTES);

const SERVERS: Readonly<Record<string, () => Promise<number>>> = {
  /** Reads the body, answers with a fixed message and fixed trailers. */
  bare: () =>
    listening(
      createServer().on("stream", (stream: ServerHttp2Stream) => {
        stream.on("data", () => undefined);
        stream.on("error", () => undefined);
        stream.on("end", () => {
          stream.respond({ ":status": 200, "content-type": "application/grpc+proto" }, { waitForTrailers: true });
          stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
          stream.end(EMPTY);
        });
      }),
    ),
  /** Like bare, with the minimum of a verification: the caller and the question, each by its hash in a map. */
  sketch: () => {
    const known = new Map<string, VerifyResponse>();
    const find = (secret: string) => {
      const place = hash("sha256", secret, "base64url");
      const found = known.get(place) ?? create(VerifyResponseSchema, { verdict: Verdict.VALID, key: { id: place } });
      known.set(place, found);
      return found;
    };
    return listening(
      createServer().on("stream", (stream: ServerHttp2Stream, headers) => {
        const chunks: Buffer[] = [];
        stream.on("data", (chunk: Buffer) => chunks.push(chunk));
        stream.on("error", () => undefined);
        stream.on("end", () => {
          find(headers.authorization ?? "");
          const { secret } = fromBinary(VerifyRequestSchema, Buffer.concat(chunks).subarray(PREFIX_BYTES));
          const message = toBinary(VerifyResponseSchema, find(secret));
          const answer = Buffer.concat([EMPTY, message]);
          answer.writeUInt32BE(message.length, 1);
          stream.respond({ ":status": 200, "content-type": "application/grpc+proto" }, { waitForTrailers: true });
          stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
          stream.end(answer);
        });
      }),
    );
  },
  connect: () =>
    listening(
      createServer(
        connectNodeAdapter({ routes: (router) => void router.service(KeyVerifier, { verify: () => ({}) }) }),
      ),
    ),
  async "grpc-js"() {
    const server = new Server();
    const bytes = (message: Buffer) => message;
    const verify = {
      path: "/claviger.v1.KeyVerifier/Verify",
      ...{ requestStream: false, responseStream: false },
      ...{ requestSerialize: bytes, requestDeserialize: bytes, responseSerialize: bytes, responseDeserialize: bytes },
    };
    server.addService(
      { verify },
      { verify: (_call: unknown, answer: (error: null, message: Buffer) => void) => answer(null, Buffer.alloc(0)) },
    );
    return new Promise((resolve, reject) =>
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
        error === null ? resolve(port) : reject(error),
      ),
    );
  },
};

function listening(server: ReturnType<typeof createServer>): Promise<number> {
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port)));
}

const start = SERVERS[process.argv[2] ?? ""];
if (process.argv[1] === PATH) {
  if (start === undefined) throw new Error(`name one of ${Object.keys(SERVERS).join(", ")}`);
  console.log(`listening on http://127.0.0.1:${await start()}`);
}
