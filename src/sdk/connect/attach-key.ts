import type { Message } from "@bufbuild/protobuf";
import type { Interceptor, StreamRequest, StreamResponse, UnaryRequest } from "@connectrpc/connect";
import { AttachedKey, type AttachKeyOptions, type CallKey } from "../attach/attached-key.ts";
import type { KeySource } from "../attach/key-source.ts";
import { SECRET_RETIRES } from "../attach/retirement.ts";
import { begin, type Next, renewOrThrow } from "./keyed-call.ts";

/**
 * An interceptor for clients that sends `authorization: Bearer <secret>` with each call. A call that already has
 * `authorization` is sent unchanged.
 *
 * A call that ends with `UNAUTHENTICATED` is repeated once if the source then has another secret. Rotation thus needs no
 * restart, and no call fails if the source has the new secret before the old one ends. This holds for unary calls, and
 * for server streams before their first message. Client and bidirectional streams cannot be repeated, because their
 * messages are gone once they are sent; they read the source before they begin. A repeated call keeps its deadline.
 * `onHeader` of a server stream gets the headers of the first attempt; the same object has those of the second later.
 *
 * Calls fail with `UNAVAILABLE` and are not sent if the source has no secret. That says nothing about the key.
 *
 * @example
 * createGrpcTransport({ baseUrl, interceptors: [attachKey(secret)] });
 * @example
 * createGrpcTransport({ baseUrl, interceptors: [attachKey(async () => await vault.read("claviger"))] });
 * @example
 * const file = fromFile("/var/run/secrets/claviger/key");
 * createGrpcTransport({ baseUrl, interceptors: [attachKey(file, { onRetiring: (instant) => log.warn({ instant }) })] });
 *
 * @throws TypeError for a wrong source, a text that cannot be a secret, or a wrong option
 */
export function attachKey(source: KeySource, options: AttachKeyOptions = {}): Interceptor {
  const key = new AttachedKey(source, options);
  return (next) => (request) => {
    if (request.header.has("authorization")) return next(request);
    return request.stream ? streamWithKey(next, request, key) : unaryWithKey(next, request, key);
  };
}

async function unaryWithKey(next: Next, request: UnaryRequest, key: AttachedKey) {
  const call = await begin(request.signal, () => key.forRepeatable());
  for (;;) {
    request.header.set("authorization", call.authorization);
    try {
      const response = await next(request);
      call.answered(response.trailer.get(SECRET_RETIRES) ?? response.header.get(SECRET_RETIRES));
      return response;
    } catch (error) {
      await renewOrThrow(call, request.signal, error);
    }
  }
}

/** Opens a stream with the key, as `attachKey` describes. */
export async function streamWithKey(next: Next, request: StreamRequest, key: AttachedKey): Promise<StreamResponse> {
  const isRepeatable = request.method.methodKind === "server_streaming";
  const message = isRepeatable ? repeatable(await collect(request.message)) : request.message;
  const call = await begin(request.signal, () => (isRepeatable ? key.forRepeatable() : key.forUnrepeatable()));
  const open = () => openOnce(next, { ...request, message }, call);
  const first = await open();
  const header = new Headers(first.header);
  const trailer = new Headers();

  async function* messages() {
    let response = first;
    for (let isBegun = false; ; ) {
      try {
        for await (const received of response.message) {
          isBegun = true;
          yield received;
        }
        call.answered(response.trailer.get(SECRET_RETIRES) ?? response.header.get(SECRET_RETIRES));
        return replace(trailer, response.trailer);
      } catch (error) {
        if (isBegun) call.spend();
        await renewOrThrow(call, request.signal, error);
      }
      response = await open();
      replace(header, response.header);
    }
  }
  return { ...first, header, trailer, message: messages() };
}

/** Sends the request, and sends it again if it is refused before there are headers. A refusal may also come later. */
async function openOnce(next: Next, request: StreamRequest, call: CallKey): Promise<StreamResponse> {
  for (;;) {
    request.header.set("authorization", call.authorization);
    try {
      return (await next(request)) as StreamResponse;
    } catch (error) {
      await renewOrThrow(call, request.signal, error);
    }
  }
}

async function collect(messages: AsyncIterable<Message>): Promise<readonly Message[]> {
  const collected: Message[] = [];
  for await (const message of messages) collected.push(message);
  return collected;
}

/** Can be iterated more than once, unlike the messages of a transport. */
function repeatable(messages: readonly Message[]): AsyncIterable<Message> {
  return {
    async *[Symbol.asyncIterator]() {
      yield* messages;
    },
  };
}

function replace(headers: Headers, by: Headers): void {
  for (const name of [...headers.keys()]) headers.delete(name);
  by.forEach((value, name) => {
    headers.append(name, value);
  });
}
