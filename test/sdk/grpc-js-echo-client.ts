import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { StringValueSchema } from "@bufbuild/protobuf/wkt";
import {
  type ClientReadableStream,
  credentials,
  type Interceptor,
  Metadata,
  makeGenericClientConstructor,
  type ServiceError,
} from "@grpc/grpc-js";
import type { CallSettings, EchoClient } from "./echo-client.ts";

const serialize = (value: string) => Buffer.from(toBinary(StringValueSchema, create(StringValueSchema, { value })));
const deserialize = (bytes: Buffer) => fromBinary(StringValueSchema, bytes).value;

function method(name: string, { requestStream = false, responseStream = false }) {
  const coding = {
    requestSerialize: serialize,
    requestDeserialize: deserialize,
    responseSerialize: serialize,
    responseDeserialize: deserialize,
  };
  return { path: `/test.Echo/${name}`, requestStream, responseStream, ...coding };
}

/** `Echo` for grpc-js. */
export const GRPC_JS_ECHO = {
  unary: method("Unary", {}),
  serverStream: method("ServerStream", { responseStream: true }),
  clientStream: method("ClientStream", { requestStream: true }),
  bidi: method("Bidi", { requestStream: true, responseStream: true }),
};

/** Calls `Echo` with grpc-js. */
export function connectGrpcJs(address: string, interceptor: Interceptor): EchoClient {
  const Client = makeGenericClientConstructor({}, "Echo");
  const client = new Client(address, credentials.createInsecure(), { interceptors: [interceptor] });
  const { unary, serverStream, clientStream, bidi } = GRPC_JS_ECHO;
  const optionsOf = ({ deadlineMs }: CallSettings) =>
    deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs };
  return {
    unary: (value, settings = {}) =>
      new Promise((resolve, reject) => {
        const call = client.makeUnaryRequest(
          unary.path,
          serialize,
          deserialize,
          value,
          metadataOf(settings),
          optionsOf(settings),
          settle(resolve, reject),
        );
        settings.signal?.addEventListener("abort", () => call.cancel());
      }),
    serverStream: (value, settings = {}) =>
      readAll(
        client.makeServerStreamRequest(
          serverStream.path,
          serialize,
          deserialize,
          value,
          metadataOf(settings),
          optionsOf(settings),
        ),
        settings,
      ),
    clientStream: (values, settings = {}) =>
      new Promise((resolve, reject) => {
        const call = client.makeClientStreamRequest(
          clientStream.path,
          serialize,
          deserialize,
          metadataOf(settings),
          optionsOf(settings),
          settle(resolve, reject),
        );
        for (const value of values) call.write(value);
        call.end();
      }),
    bidi: (values, settings = {}) => {
      const call = client.makeBidiStreamRequest(
        bidi.path,
        serialize,
        deserialize,
        metadataOf(settings),
        optionsOf(settings),
      );
      for (const value of values) call.write(value);
      call.end();
      return readAll(call, settings);
    },
    close: () => client.close(),
  };
}

function metadataOf({ authorization }: CallSettings): Metadata {
  const metadata = new Metadata();
  if (authorization !== undefined) metadata.set("authorization", authorization);
  return metadata;
}

function settle(resolve: (value: string) => void, reject: (error: Error) => void) {
  return (error: ServiceError | null, value?: string) => (error === null ? resolve(value ?? "") : reject(error));
}

function readAll(stream: ClientReadableStream<string>, { onHeader, onMessage }: CallSettings): Promise<string[]> {
  const values: string[] = [];
  return new Promise((resolve, reject) => {
    stream.on("metadata", (metadata: Metadata) => onHeader?.(() => String(metadata.get("let-in")[0] ?? "no")));
    stream.on("data", (value: string) => {
      values.push(value);
      onMessage?.(value);
    });
    stream.on("error", reject);
    stream.on("end", () => resolve(values));
  });
}
