import {
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerInterceptor,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
} from "@grpc/grpc-js";
import { findPrincipal } from "../../src/sdk/grpc-js/index.ts";
import { collect, createGrpcJsClient, type GrpcJsOrders, loadDefinition, type Text } from "./grpc-js-client.ts";

/** What a handler saw of its last call. */
export interface Seen {
  owner?: string | undefined;
  metadata?: Record<string, unknown>;
  wasCancelled?: boolean;
  /** Sends a message on the stream that `Watch` answers. */
  send?: () => void;
}

export interface Answer {
  readonly value: string;
  /** `claviger-secret-retires` */
  readonly retires: unknown;
}

/** A real server of `Orders` on grpc-js, with handlers that say what they see, and a client of it. */
export async function serveOrders(interceptors: ServerInterceptor[]) {
  const seen: Seen = {};
  const note = (call: { readonly metadata: Metadata }) => {
    seen.owner = findPrincipal(call)?.key.owner;
    seen.metadata = call.metadata.getMap();
    return { value: seen.owner ?? "nobody" };
  };
  const answer = (call: ServerUnaryCall<Text, Text>, done: sendUnaryData<Text>) => done(null, note(call));
  const server = new Server({ interceptors });
  server.addService(loadDefinition(), {
    Ping: answer,
    Write: answer,
    Browse: answer,
    Watch(call: ServerWritableStream<Text, Text>) {
      note(call);
      call.write({ value: "first" });
      seen.send = () => void call.write({ value: "after the end" });
      call.on("cancelled", () => {
        seen.wasCancelled = true;
        call.write({ value: "after the end" });
        call.end();
      });
    },
    Import(call: ServerReadableStream<Text, Text>, done: sendUnaryData<Text>) {
      note(call);
      let count = 0;
      call.on("data", () => {
        count += 1;
      });
      call.on("end", () => done(null, { value: String(count) }));
      call.on("cancelled", () => {
        seen.wasCancelled = true;
      });
    },
    Chat(call: ServerDuplexStream<Text, Text>) {
      note(call);
      call.on("data", (text: Text) => call.write(text));
      call.on("end", () => call.end());
      call.on("cancelled", () => {
        seen.wasCancelled = true;
      });
    },
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  const client = createGrpcJsClient(`127.0.0.1:${port}`);
  return {
    seen,
    client,
    call: (method: "ping" | "write" | "browse", headers: Record<string, string>) => callUnary(client, method, headers),
    close() {
      client.close();
      server.forceShutdown();
    },
  };
}

export type OrdersServer = Awaited<ReturnType<typeof serveOrders>>;

export function metadataOf(headers: Record<string, string>): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return metadata;
}

function callUnary(client: GrpcJsOrders, method: "ping" | "write" | "browse", headers: Record<string, string>) {
  return new Promise<Answer>((resolve, reject) => {
    let value = "";
    const call = client[method]({ value: "" }, metadataOf(headers), (error, text) => {
      if (error !== null) reject(error);
      value = text?.value ?? "";
    });
    call.on("status", ({ metadata }) => resolve({ value, retires: metadata.get("claviger-secret-retires")[0] }));
  });
}

export { collect };
