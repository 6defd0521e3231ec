import type { Interceptor, StreamRequest, UnaryRequest } from "@connectrpc/connect";
import { createMethodReader } from "../../wire/access.ts";
import { type TakenHeaders, takeCredential } from "../../wire/credential.ts";
import { explainedError } from "../../wire/errors.ts";
import { SECRET_RETIRES } from "../attach/retirement.ts";
import { createGuard } from "../protect/guard.ts";
import {
  checkKeyOptions,
  KEY_RULES,
  type KeyOptions,
  STREAM_RULES,
  type StreamOptions,
} from "../protect/key-options.ts";
import { retirementOf } from "../protect/principal.ts";
import { watchSettings } from "../protect/watch-key.ts";
import type { Verifier } from "../verification.ts";
import { peerKey } from "./peer.ts";
import { principalKey } from "./principal.ts";
import { runWatched } from "./watched-stream.ts";

/** `Call` is Connect's request, with its method, headers and, unless it is a stream, message. */
export type RequireKeyOptions = KeyOptions<UnaryRequest | StreamRequest> & StreamOptions;

const RULES = { ...KEY_RULES, ...STREAM_RULES };

/**
 * Requires a key of every call: `authorization: Bearer <key>` or `x-api-key: <key>`, with the scopes that the method's
 * `option (claviger.v1.access)` names. Handlers get the caller from `principalOf(context)`, and never the key. Keys of
 * streams are verified again each minute, and a stream ends when its key dies. A caller whose secret was rotated learns
 * when it retires, from the trailer `claviger-secret-retires` (RFC 3339) of a successful answer.
 *
 * Refusals carry `google.rpc.ErrorInfo` in domain `claviger`, with the verdict in its metadata: `UNAUTHENTICATED` without
 * a key or with a bad one, `PERMISSION_DENIED` for the address or a missing scope, `RESOURCE_EXHAUSTED` for a limit, and
 * `UNAVAILABLE` if the key could not be checked. Connect reads the message of a unary call before interceptors run:
 * limit it with `readMaxBytes`.
 *
 * @example connectNodeAdapter({ routes, interceptors: [requireKey(verifier)], contextValues: (req) => peerValues(req) })
 * @example requireKey(verifier, { scopes: ({ method }) => [`orders:${method.localName}`] }) // instead of the option
 * @example requireKey(verifier, { anonymous: ({ service }) => service.typeName === "grpc.health.v1.Health" || undefined })
 * @throws TypeError without a verifier, and for a wrong or unknown option
 */
export function requireKey(verifier: Verifier, options: RequireKeyOptions = {}): Interceptor {
  checkKeyOptions("requireKey", { verifier, options }, RULES);
  const guard = createGuard(verifier, options);
  const settings = watchSettings(options);
  const read = createMethodReader();
  return (next) => async (request) => {
    const { path, access } = read(request.method);
    const arrival = {
      call: request,
      // Not the context: a service may pass the same one to every call, and it would hold another caller's key.
      carrier: request.header,
      takeCredential: () => takeCredential(headersOf(request.header)),
      method: () => path,
      peer: request.contextValues.get(peerKey),
      access,
    };
    const decision = guard(arrival);
    const admission = decision instanceof Promise ? await decision : decision;
    if ("refusal" in admission) throw explainedError(admission.refusal);
    request.contextValues.set(principalKey, admission.principal);
    if (admission.principal === undefined) return next(request);
    if (request.stream) return runWatched({ next, request, ...admission }, settings);
    const response = await next(request);
    const retires = retirementOf(admission.principal);
    if (retires !== undefined) response.trailer.set(SECRET_RETIRES, retires);
    return response;
  };
}

/** Reads the key and removes it from the headers. */
function headersOf(header: Headers): TakenHeaders {
  const valuesOf = (name: string) => {
    const value = header.get(name);
    return value === null ? [] : [value];
  };
  return { valuesOf, remove: (name) => header.delete(name) };
}
