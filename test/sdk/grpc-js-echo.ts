import {
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type StatusObject,
  type sendUnaryData,
  status,
} from "@grpc/grpc-js";
import { ABORT, Doorkeeper, type EchoServer, REFUSE_LATE } from "./doorkeeper.ts";
import { GRPC_JS_ECHO } from "./grpc-js-echo-client.ts";

/** `Echo` on grpc-js, which answers a refusal with trailers only. */
export async function startGrpcJsEcho(): Promise<EchoServer> {
  const door = new Doorkeeper();
  const server = new Server();
  server.addService(GRPC_JS_ECHO, echo(door));
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return { address: `127.0.0.1:${port}`, door, close: async () => server.forceShutdown() };
}

function echo(door: Doorkeeper) {
  return {
    unary(call: ServerUnaryCall<string, string>, done: sendUnaryData<string>) {
      const { trailer, refusal } = letIn(door, call);
      if (refusal !== undefined) done(refusal);
      else if (call.request === ABORT) done({ code: status.ABORTED, details: "aborted", metadata: trailer });
      else done(null, call.request, trailer);
    },
    serverStream(call: ServerWritableStream<string, string>) {
      const { trailer, refusal } = letIn(door, call);
      if (refusal !== undefined) return void call.emit("error", refusal);
      call.write(`${call.request} 1`);
      const codes: Record<string, status> = { [ABORT]: status.ABORTED, [REFUSE_LATE]: status.UNAUTHENTICATED };
      const code = codes[call.request];
      if (code !== undefined) return void call.emit("error", { code, details: call.request, metadata: trailer });
      for (const index of [2, 3]) call.write(`${call.request} ${index}`);
      call.end(trailer);
    },
    clientStream(call: ServerReadableStream<string, string>, done: sendUnaryData<string>) {
      const { trailer, refusal } = letIn(door, call);
      if (refusal !== undefined) return done(refusal);
      const values: string[] = [];
      call.on("data", (value: string) => values.push(value));
      call.on("end", () => done(null, values.join(" "), trailer));
    },
    bidi(call: ServerDuplexStream<string, string>) {
      const { trailer, refusal } = letIn(door, call);
      if (refusal !== undefined) return void call.emit("error", refusal);
      call.on("data", (value: string) => call.write(value));
      call.on("end", () => call.end(trailer));
    },
  };
}

/** The trailer of a call, and what it ends with if it is not let in. */
function letIn(
  door: Doorkeeper,
  call: { readonly metadata: Metadata; sendMetadata(metadata: Metadata): void },
): { readonly trailer: Metadata; readonly refusal?: Partial<StatusObject> } {
  const { isAccepted, retires } = door.decide(String(call.metadata.get("authorization")[0] ?? "none"));
  const trailer = new Metadata();
  if (retires !== undefined) trailer.set("claviger-secret-retires", retires);
  if (!isAccepted) return { trailer, refusal: { code: status.UNAUTHENTICATED, details: "refused", metadata: trailer } };
  const header = new Metadata();
  header.set("let-in", "yes");
  call.sendMetadata(header);
  return { trailer };
}
