import type { Actor } from "../keys/key.ts";
import { networkOf } from "../verify/network-of.ts";

/** The origin of a call. */
export interface CallOrigin {
  /** Network address of the peer; empty if there is none. */
  readonly address: string;
  /** The call's id in logs, errors and the audit log. */
  readonly requestId: string;
}

/** A service, identified by a Claviger key. Each change reads its permissions again from storage. */
export interface ServiceCaller extends CallOrigin {
  readonly kind: "service";
  readonly keyId: string;
  readonly version: number;
  readonly owner: string;
  readonly scopes: readonly string[];
  /** `about` of the presented secret (`CachedSecret`); absent if this call did not read the secret. */
  readonly about?: string;
}

/** A user, identified by a token of the platform's own authentication. */
export interface UserCaller extends CallOrigin {
  readonly kind: "user";
  /** The issuer's `owner_prefix` and the token's `sub`. */
  readonly owner: string;
  /** Whether the configured claim of the token makes the user an administrator. */
  readonly isAdmin: boolean;
  /** Scopes, possibly wildcards, that the user may grant; an administrator may grant any scope. */
  readonly grantableScopes: readonly string[];
}

/** The caller of a method that needs no credential. */
export interface AnonymousCaller extends CallOrigin {
  readonly kind: "anonymous";
}

/** Claviger's own operator, with access to the database: `claviger bootstrap`. */
export interface SystemCaller extends CallOrigin {
  readonly kind: "system";
}

export type Caller = ServiceCaller | UserCaller | AnonymousCaller | SystemCaller;

/** Identifies the caller: the same text for all its calls, and for all secrets of a key. */
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

/** The caller in the form that the audit log stores. */
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
