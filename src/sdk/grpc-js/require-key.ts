import type { Metadata, ServerInterceptor } from "@grpc/grpc-js";
import { ANY_KEY, type MethodAccess } from "../../wire/access.ts";
import { takeCredential } from "../../wire/credential.ts";
import { createGuard } from "../protect/guard.ts";
import {
  checkKeyOptions,
  KEY_RULES,
  type KeyOptions,
  STREAM_RULES,
  type StreamOptions,
} from "../protect/key-options.ts";
import { watchSettings } from "../protect/watch-key.ts";
import type { Verifier } from "../verification.ts";
import type { Rules } from "../verifier/check-options.ts";
import { type DeclaringService, declaredAccess } from "./declared-access.ts";
import { guardCall } from "./guarded-call.ts";

/** A call before its first message. */
export interface IncomingCall {
  /** `/package.Service/Method` */
  readonly path: string;
  /** Without the key. */
  readonly metadata: Metadata;
  /** `address:port` of the other end of the connection, in the form of grpc-js. */
  readonly peer: string;
}

export interface RequireKeyOptions extends KeyOptions<IncomingCall>, StreamOptions {
  /**
   * The services whose methods declare their requirements in `option (claviger.v1.access)`: services of proto-loader, or
   * descriptors of protobuf-es (services from generated code, or a whole registry). A method of another service is
   * `INTERNAL`, unless `anonymous` lets it in, or both `anonymous` and `scopes` answer. Default: every method requires any
   * good key.
   */
  readonly services?: Iterable<DeclaringService>;
}

const RULES: Rules<RequireKeyOptions> = {
  ...KEY_RULES,
  ...STREAM_RULES,
  services: {
    right: "an array of services",
    holds: (value) => typeof value === "object" && value !== null && Symbol.iterator in value,
  },
};

/**
 * Requires a key of every call to a server of `@grpc/grpc-js` 1.14 or newer: `authorization: Bearer <key>` or
 * `x-api-key: <key>`. Handlers get the caller from `principalOf(call)`, and never the key. Put it last, after
 * interceptors that copy metadata. Refusals, streams and `claviger-secret-retires` are as with Connect's `requireKey`.
 *
 * @example new Server({ interceptors: [requireKey(verifier, { services: [orders.service] })] }) // proto-loader
 * @example new Server({ interceptors: [requireKey(verifier, { services: [Orders] })] }) // protobuf-es
 * @example requireKey(verifier, { scopes: ({ path }) => (path.endsWith("/Write") ? ["orders:write"] : ["orders:read"]) })
 * @throws TypeError without a verifier, and for a wrong or unknown option
 * @throws Error for services whose options are missing or unclear
 */
export function requireKey(verifier: Verifier, options: RequireKeyOptions = {}): ServerInterceptor {
  checkKeyOptions("requireKey", { verifier, options }, RULES);
  const guard = createGuard(verifier, options);
  const settings = watchSettings(options);
  const declared = options.services && declaredAccess(options.services);
  const accessOf = (path: string): MethodAccess => {
    const access = declared === undefined ? ANY_KEY : declared.get(path);
    if (access !== undefined) return access;
    throw new Error(
      `the requirements of ${path} are unknown. Add its service to services, or set scopes and anonymous`,
    );
  };
  return ({ path, requestStream, responseStream }, call) =>
    guardCall(call, {
      watch: requestStream || responseStream ? settings : undefined,
      admit: (metadata) => {
        const peer = call.getPeer();
        return guard({
          call: { path, metadata, peer },
          carrier: metadata,
          takeCredential: () =>
            takeCredential({
              valuesOf: (name) => metadata.get(name).map(String),
              remove: (name) => metadata.remove(name),
            }),
          method: () => path,
          peer: peer.replace(/:\d+$/, ""),
          access: () => accessOf(path),
        });
      },
    });
}

/** Reads the key and removes it from the metadata. */
