import { InterceptingCall, type Interceptor } from "@grpc/grpc-js";
import { AttachedKey, type AttachKeyOptions } from "../attach/attached-key.ts";
import type { KeySource } from "../attach/key-source.ts";
import { KeyedCall } from "./keyed-call.ts";

/**
 * An interceptor for grpc-js clients that sends `authorization: Bearer <secret>` with each call. A call that already has
 * `authorization` in its metadata is sent unchanged; grpc-js refuses call credentials that add a second one.
 *
 * A call that ends with `UNAUTHENTICATED` is repeated once if the source then has another secret. Rotation thus needs no
 * restart, and no call fails if the source has the new secret before the old one ends. This holds for unary calls, and
 * for server streams before their first message. Client and bidirectional streams cannot be repeated, because their
 * messages are gone once they are sent; they read the source before they begin. A repeated call keeps its deadline. The
 * event `metadata` is emitted for each attempt that was answered with headers.
 *
 * Calls fail with `UNAVAILABLE` and are not sent if the source has no secret. That says nothing about the key.
 *
 * @example
 * new Client(address, credentials.createInsecure(), { interceptors: [attachKey(secret)] });
 * @example
 * new Client(address, credentials.createSsl(), { interceptors: [attachKey(async () => await vault.read("claviger"))] });
 * @example
 * const file = fromFile("/var/run/secrets/claviger/key");
 * const interceptors = [attachKey(file, { onRetiring: (instant) => log.warn({ instant }) })];
 * new Client(address, credentials.createSsl(), { interceptors });
 *
 * @throws TypeError for a wrong source, a text that cannot be a secret, or a wrong option
 */
export function attachKey(source: KeySource, options: AttachKeyOptions = {}): Interceptor {
  const key = new AttachedKey(source, options);
  return (callOptions, nextCall) => new InterceptingCall(new KeyedCall(key, { callOptions, nextCall }));
}
