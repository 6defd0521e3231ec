import type { Actor } from "../keys/key.ts";
import { networkOf } from "../verify/network-of.ts";

/** Where a call came from. */
export interface CallOrigin {
  /** Network address of the peer; empty if there is none. */
  readonly address: string;
  /** The call's id in logs, errors and the audit log. */
  readonly requestId: string;
}

/** A service, known by a Claviger key. What it may do is judged again, from storage, by whatever changes something. */
export interface ServiceCaller extends CallOrigin {
  readonly kind: "service";
  readonly keyId: string;
  /** Version of the secret that was presented. */
  readonly version: number;
  readonly owner: string;
  readonly scopes: readonly string[];
  /** `about` of the secret that was presented (`KnownSecret`); absent if the secret was not read for this call. */
  readonly about?: string;
}

/** A user, known by a token of the platform's own authentication. */
export interface UserCaller extends CallOrigin {
  readonly kind: "user";
  /** The issuer's `owner_prefix` and the token's `sub`. */
  readonly owner: string;
  /** Whether the configured claim of the token says so. */
  readonly isAdmin: boolean;
  /** Scopes, possibly wildcards, that the user may grant; an administrator may grant any. */
  readonly grantableScopes: readonly string[];
}

/** Nobody in particular: methods that are open to anybody are called so. */
export interface AnonymousCaller extends CallOrigin {
  readonly kind: "anonymous";
}

/** Claviger's own operator, with access to the database: `claviger bootstrap`. */
export interface SystemCaller extends CallOrigin {
  readonly kind: "system";
}

/** Whoever calls. */
export type Caller = ServiceCaller | UserCaller | AnonymousCaller | SystemCaller;

/** Names the caller: the same for all its calls, and for all secrets of a key. */
export function callerId(caller: Caller): string {
  switch (caller.kind) {
    case "service":
      return `service:${caller.keyId}`;
    case "user":
      return `user:${caller.owner}`;
    case "anonymous":
      return `anonymous:${networkOf(caller.address)}`;
    case "system":
      return caller.kind;
  }
}

/** The caller as it is remembered with what it did. */
export function actorOf(caller: Caller): Actor {
  const { address } = caller;
  switch (caller.kind) {
    case "service":
      return { kind: "service", subject: caller.owner, keyId: caller.keyId, address };
    case "user":
      return { kind: "user", subject: caller.owner, keyId: "", address };
    case "anonymous":
      return { kind: "holder", subject: "", keyId: "", address };
    case "system":
      return { kind: "system", subject: "", keyId: "", address };
  }
}
