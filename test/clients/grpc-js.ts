import { join } from "node:path";
import {
  type ChannelCredentials,
  type ChannelOptions,
  Client,
  type ClientReadableStream,
  credentials,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";
import { loadSync, type ServiceDefinition } from "@grpc/proto-loader";
import { REPOSITORY } from "../../testkit/repository-copy.ts";

/** A message as proto-loader makes it: the proto's own field names, enums as their names. */
export type Message = Readonly<Record<string, unknown>>;

/** An OK answer, and how often grpc-js had tried before it. */
export interface Answer {
  readonly message: Message;
  readonly earlierAttempts: number;
}

/** A client of somebody else's making: `@grpc/grpc-js`, with the proto files read at run time. */
export interface GrpcJsClient {
  /**
   * Calls `KeyVerifier/Verify`, `KeyManagement/CreateKey`, …; rejects with grpc-js' `ServiceError`.
   *
   * @param options `timeoutMs`: the deadline, default 20 s
   */
  call(method: string, request: Message, options?: { readonly timeoutMs?: number }): Promise<Answer>;
  /** Begins a call of a method with a stream of answers, by the service's full name: `grpc.health.v1.Health/Watch`. */
  stream(method: string, request: Message, options?: { readonly timeoutMs?: number }): ClientReadableStream<object>;
  close(): void;
}

export interface GrpcJsOptions {
  /** `127.0.0.1:port` */
  readonly address: string;
  readonly token: string;
  /** Default: cleartext. */
  readonly security?: ChannelCredentials;
  /** For the channel, such as a service config. */
  readonly channel?: ChannelOptions;
}

export function createGrpcJsClient({ address, token, channel, security }: GrpcJsOptions): GrpcJsClient {
  const definition = loadSync(
    ["claviger/v1/key_verifier.proto", "claviger/v1/key_management.proto", "grpc/health/v1/health.proto"],
    { includeDirs: ["proto", "proto/vendor"].map((folder) => join(REPOSITORY, folder)), keepCase: true, enums: String },
  );
  const client = new Client(address, security ?? credentials.createInsecure(), channel);
  const metadata = new Metadata();
  metadata.set("authorization", `Bearer ${token}`);

  function find(method: string) {
    const [service = "", name = ""] = method.split("/");
    // The loader's type also allows for messages and enums under such a name.
    const rpc = (definition[service] as ServiceDefinition | undefined)?.[name];
    if (rpc === undefined) throw new Error(`the proto files have no ${method}; correct the test`);
    return rpc;
  }

  return {
    call(method, request, { timeoutMs = 20_000 } = {}) {
      const rpc = find(`claviger.v1.${method}`);
      return new Promise((resolve, reject) => {
        let earlierAttempts = 0;
        const options = { deadline: Date.now() + timeoutMs };
        const done = (error: ServiceError | null, message?: object) =>
          error === null ? resolve({ message: { ...message }, earlierAttempts }) : reject(error);
        client
          .makeUnaryRequest(rpc.path, rpc.requestSerialize, rpc.responseDeserialize, request, metadata, options, done)
          .on("metadata", (received: Metadata) => {
            earlierAttempts = Number(received.get("grpc-previous-rpc-attempts")[0] ?? 0);
          });
      });
    },
    stream(method, request, { timeoutMs = 20_000 } = {}) {
      const rpc = find(method);
      const options = { deadline: Date.now() + timeoutMs };
      const { path, requestSerialize, responseDeserialize } = rpc;
      return client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request, metadata, options);
    },
    close: () => client.close(),
  };
}
