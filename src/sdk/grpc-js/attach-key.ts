import { InterceptingCall, type Interceptor } from "@grpc/grpc-js";
import { AttachedKey, type AttachKeyOptions } from "../attach/attached-key.ts";
import type { KeySource } from "../attach/key-source.ts";
import { KeyedCall } from "./keyed-call.ts";

/**
 * An interceptor of grpc-js clients that sends `authorization: Bearer <secret>` with each call. A call whose metadata have
 * an `authorization` already goes out as it is; call credentials that add another one are refused by grpc-js.
 *
 * A call that ends with `UNAUTHENTICATED` is repeated once, if a new look at the source gives another secret than the one
 * that was refused. So rotation needs no restart, and no call fails as long as the source has the new secret by the time
 * that the old one ends. This holds for unary calls, and for server streams before their first message. Client and
 * bidirectional streams cannot be repeated, for their messages are gone once sent; they look at the source before they
 * begin. A repeated call keeps its deadline. The event `metadata` is emitted for each attempt that was answered with
 * headers.
 *
 * Calls fail with `UNAVAILABLE` and are not sent if the source gives no secret: nothing was said about the key.
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
 * @throws TypeError for what is no source, for a text that can be no secret, and for a wrong option
 */
export function attachKey(source: KeySource, options: AttachKeyOptions = {}): Interceptor {
  const key = new AttachedKey(source, options);
  return (callOptions, nextCall) => new InterceptingCall(new KeyedCall(key, { callOptions, nextCall }));
}
