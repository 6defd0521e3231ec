/** `node reference-server.ts bare|connect|grpc-js`: unary gRPC at its least, for comparison. Prints its address. */
import { createServer, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { KeyVerifier } from "#gen/claviger/v1/key_verifier_pb.js";

const PATH = fileURLToPath(import.meta.url);
/** An empty message. */
const EMPTY = Buffer.alloc(5);

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
