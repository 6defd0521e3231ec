import type { Interceptor, UnaryRequest } from "@connectrpc/connect";
import { AttachedKey, type AttachKeyOptions } from "../attach/attached-key.ts";
import type { KeySource } from "../attach/key-source.ts";
import { SECRET_RETIRES } from "../attach/retirement.ts";
import { begin, type Next, renewOrThrow } from "./keyed-call.ts";
import { streamWithKey } from "./stream-with-key.ts";

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
