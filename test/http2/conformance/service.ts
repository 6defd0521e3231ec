import { setTimeout as sleep } from "node:timers/promises";
import { create, createRegistry, type Message, type MessageInitShape } from "@bufbuild/protobuf";
import { type Any, anyPack } from "@bufbuild/protobuf/wkt";
import { type Code, ConnectError, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import {
  type ConformancePayload_RequestInfo,
  ConformancePayload_RequestInfoSchema,
  type ConformancePayloadSchema,
  type ConformanceService,
  type Error as ErrorDefinition,
  file_connectrpc_conformance_v1_service,
  type Header,
  type StreamResponseDefinition,
  type UnaryResponseDefinition,
} from "./gen/connectrpc/conformance/v1/service_pb.js";

/** The messages that the service packs into `Any`. */
export const REGISTRY = createRegistry(file_connectrpc_conformance_v1_service);

/** The server's default deadline, long enough to be told from those of clients. */
export const NO_DEADLINE_MS = 24 * 60 * 60 * 1000;

type Payload = MessageInitShape<typeof ConformancePayloadSchema>;

/** ConformanceService, as `proto/connectrpc/conformance/v1/service.proto` describes it. */
export const conformance: Omit<ServiceImpl<typeof ConformanceService>, "unimplemented"> = {
  async unary(request, context) {
    return { payload: await answer(request.responseDefinition, infoOf(context, [request]), context) };
  },

  async idempotentUnary(request, context) {
    return { payload: await answer(request.responseDefinition, infoOf(context, [request]), context) };
  },

  async clientStream(requests, context) {
    const all = await collect(requests);
    return { payload: await answer(all[0]?.responseDefinition, infoOf(context, all), context) };
  },

  async *serverStream(request, context) {
    const { responseDefinition: definition } = request;
    const info = infoOf(context, [request]);
    setMetadata(context, definition);
    for (const [at, data] of (definition?.responseData ?? []).entries()) {
      await sleep(definition?.responseDelayMs ?? 0);
      yield { payload: at === 0 ? { data, requestInfo: info } : { data } };
    }
    failAfter(definition, info);
  },

  async *bidiStream(requests, context) {
    let definition: StreamResponseDefinition | undefined;
    let answered = 0;
    let unanswered: Message[] = [];
    let isFirst = true;
    let isFullDuplex = false;
    for await (const request of requests) {
      if (isFirst) {
        definition = request.responseDefinition;
        isFullDuplex = request.fullDuplex;
        setMetadata(context, definition);
      }
      isFirst = false;
      unanswered.push(request);
      if (!isFullDuplex) continue;
      const data = definition?.responseData[answered];
      if (data === undefined) break;
      await sleep(definition?.responseDelayMs ?? 0);
      const info = infoOf(context, unanswered);
      yield { payload: { data, requestInfo: answered === 0 ? info : { requests: info.requests } } };
      answered += 1;
      unanswered = [];
    }
    const info = infoOf(context, unanswered);
    const rest = (definition?.responseData ?? []).slice(answered);
    for (const data of rest) {
      await sleep(definition?.responseDelayMs ?? 0);
      yield { payload: answered === 0 ? { data, requestInfo: info } : { data } };
      answered += 1;
    }
    failAfter(definition, answered === 0 ? info : undefined);
  },
};

async function collect<T>(messages: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const message of messages) all.push(message);
  return all;
}

/** The answer to a call with one response. */
async function answer(
  definition: UnaryResponseDefinition | undefined,
  requestInfo: ConformancePayload_RequestInfo,
  context: HandlerContext,
): Promise<Payload> {
  setMetadata(context, definition);
  await sleep(definition?.responseDelayMs ?? 0);
  const { response } = definition ?? {};
  if (response?.case === "error") throw errorOf(response.value, requestInfo);
  return { data: response?.value ?? new Uint8Array(), requestInfo };
}

/** Fails if the definition says so. A failure before the first response carries what is known of the request. */
function failAfter(
  definition: StreamResponseDefinition | undefined,
  info: ConformancePayload_RequestInfo | undefined,
): void {
  if (definition?.error === undefined) return;
  throw errorOf(definition.error, definition.responseData.length === 0 ? info : undefined);
}

function errorOf(definition: ErrorDefinition, info: ConformancePayload_RequestInfo | undefined): ConnectError {
  const error = new ConnectError(definition.message ?? "", definition.code as number as Code);
  const details = info === undefined ? [] : [anyPack(ConformancePayload_RequestInfoSchema, info)];
  error.details = [...definition.details, ...details].map(({ typeUrl, value }) => ({
    type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1),
    value,
  }));
  return error;
}

function infoOf(context: HandlerContext, requests: readonly Message[]): ConformancePayload_RequestInfo {
  const timeoutMs = context.timeoutMs() ?? NO_DEADLINE_MS;
  const queryParams = [...new URL(context.url).searchParams].map(([name, value]) => ({ name, value: [value] }));
  return create(ConformancePayload_RequestInfoSchema, {
    requestHeaders: [...context.requestHeader].map(([name, value]) => ({ name, value: value.split(", ") })),
    requests: requests.map(pack),
    ...(timeoutMs > NO_DEADLINE_MS / 2 ? {} : { timeoutMs: BigInt(timeoutMs) }),
    ...(context.requestMethod === "GET" ? { connectGetInfo: { queryParams } } : {}),
  });
}

function pack(message: Message): Any {
  const schema = REGISTRY.getMessage(message.$typeName);
  if (schema === undefined) throw new Error(`unknown message ${message.$typeName}; add its file to the registry`);
  return anyPack(schema, message);
}

function setMetadata(
  { responseHeader, responseTrailer }: HandlerContext,
  definition: { readonly responseHeaders: Header[]; readonly responseTrailers: Header[] } | undefined,
): void {
  append(responseHeader, definition?.responseHeaders ?? []);
  append(responseTrailer, definition?.responseTrailers ?? []);
}

function append(to: Headers, headers: readonly Header[]): void {
  for (const { name, value } of headers) for (const each of value) to.append(name, each);
}
