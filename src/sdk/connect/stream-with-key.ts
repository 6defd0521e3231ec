import type { Message } from "@bufbuild/protobuf";
import type { StreamRequest, StreamResponse } from "@connectrpc/connect";
import type { AttachedKey, CallKey } from "../attach/attached-key.ts";
import { SECRET_RETIRES } from "../attach/retirement.ts";
import { begin, type Next, renewOrThrow } from "./keyed-call.ts";

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
