import { join } from "node:path";
import {
  type Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ClientUnaryCall,
  type ClientWritableStream,
  credentials,
  type Metadata,
  makeClientConstructor,
  type ServiceDefinition,
  type ServiceError,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { REPOSITORY } from "../../testkit/repository-copy.ts";

export interface Text {
  readonly value: string;
}

type Done = (error: ServiceError | null, answer?: Text) => void;

/** The methods of `Orders` as grpc-js makes them. */
export interface GrpcJsOrders extends Client {
  ping(request: Text, metadata: Metadata, done: Done): ClientUnaryCall;
  write(request: Text, metadata: Metadata, done: Done): ClientUnaryCall;
  browse(request: Text, metadata: Metadata, done: Done): ClientUnaryCall;
  watch(request: Text, metadata: Metadata): ClientReadableStream<Text>;
  import(metadata: Metadata, done: Done): ClientWritableStream<Text>;
  chat(metadata: Metadata): ClientDuplexStream<Text, Text>;
}

/** `Orders` as proto-loader reads it. */
export function loadDefinition(): ServiceDefinition<UntypedServiceImplementation> {
  const includeDirs = ["proto", "proto/vendor", "test/sdk/proto"].map((folder) => join(REPOSITORY, folder));
  const definition = loadSync("claviger/test/v1/orders.proto", { includeDirs, keepCase: true });
  return definition["claviger.test.v1.Orders"] as ServiceDefinition;
}

/** A client of somebody else's making. */
export function createGrpcJsClient(address: string): GrpcJsOrders {
  const Orders = makeClientConstructor(loadDefinition(), "Orders");
  return new Orders(address, credentials.createInsecure()) as unknown as GrpcJsOrders;
}

/** A client-side stream as a promise of the messages that came; rejects with grpc-js' ServiceError. */
export function collect(stream: ClientReadableStream<Text> | ClientDuplexStream<Text, Text>): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const texts: string[] = [];
    stream.on("data", ({ value }: Text) => texts.push(value));
    stream.on("end", () => resolve(texts));
    stream.on("error", reject);
  });
}
