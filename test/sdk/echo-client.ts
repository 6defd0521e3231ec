import { type CallOptions, createClient, type Interceptor } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { Echo } from "./echo-service.ts";

export interface CallSettings {
  /** A header of the caller's own. */
  readonly authorization?: string;
  readonly signal?: AbortSignal;
  readonly deadlineMs?: number;
  /** Told of the header `let-in`, or `no`; `letIn` reads it anew. */
  readonly onHeader?: (letIn: () => string) => void;
  readonly onMessage?: (value: string) => void;
}

/** `Echo`, whatever the stack. Errors have the `code` of gRPC. */
export interface EchoClient {
  unary(value: string, settings?: CallSettings): Promise<string>;
  serverStream(value: string, settings?: CallSettings): Promise<string[]>;
  clientStream(values: readonly string[], settings?: CallSettings): Promise<string>;
  bidi(values: readonly string[], settings?: CallSettings): Promise<string[]>;
  close(): void;
}

const TRANSPORTS = {
  gRPC: createGrpcTransport,
  Connect: (options: { baseUrl: string; interceptors: Interceptor[] }) =>
    createConnectTransport({ ...options, httpVersion: "2" }),
  "gRPC-Web": (options: { baseUrl: string; interceptors: Interceptor[] }) =>
    createGrpcWebTransport({ ...options, httpVersion: "2" }),
};

/** Calls `Echo` with a client of Connect, over one of its protocols. */
export function connectConnect(
  protocol: keyof typeof TRANSPORTS,
  address: string,
  interceptor: Interceptor,
): EchoClient {
  const transport = TRANSPORTS[protocol]({ baseUrl: `http://${address}`, interceptors: [interceptor] });
  const client = createClient(Echo, transport);
  return {
    unary: async (value, settings) => (await client.unary({ value }, optionsOf(settings))).value,
    serverStream: (value, settings) => readAll(client.serverStream({ value }, optionsOf(settings)), settings),
    clientStream: async (values, settings) => (await client.clientStream(requests(values), optionsOf(settings))).value,
    bidi: (values, settings) => readAll(client.bidi(requests(values), optionsOf(settings)), settings),
    close: () => undefined,
  };
}

function optionsOf({ authorization, signal, deadlineMs, onHeader }: CallSettings = {}): CallOptions {
  return {
    ...(authorization === undefined ? {} : { headers: { authorization } }),
    ...(signal === undefined ? {} : { signal }),
    ...(deadlineMs === undefined ? {} : { timeoutMs: deadlineMs }),
    ...(onHeader === undefined ? {} : { onHeader: (header: Headers) => onHeader(() => header.get("let-in") ?? "no") }),
  };
}

async function* requests(values: readonly string[]) {
  for (const value of values) yield { value };
}

async function readAll(messages: AsyncIterable<{ value: string }>, settings: CallSettings = {}): Promise<string[]> {
  const values: string[] = [];
  for await (const { value } of messages) {
    values.push(value);
    settings.onMessage?.(value);
  }
  return values;
}
