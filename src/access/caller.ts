import type { Actor } from "../keys/key.ts";

/** A service, known by a Claviger key. What it may do is judged again, from storage, by whatever changes something. */
export interface ServiceCaller {
  readonly kind: "service";
  readonly keyId: string;
  /** Version of the secret that was presented. */
  readonly version: number;
  readonly owner: string;
  readonly scopes: readonly string[];
  readonly address: string;
}

/** Nobody in particular: methods that are open to anybody are called so. */
export interface AnonymousCaller {
  readonly kind: "anonymous";
  readonly address: string;
}

/** Claviger's own operator, with access to the database: `claviger bootstrap`. */
export interface SystemCaller {
  readonly kind: "system";
}

/** Whoever calls. Users, known by a token of the platform's own authentication, join here. */
export type Caller = ServiceCaller | AnonymousCaller | SystemCaller;

/** The caller as it is remembered with what it did. */
export function actorOf(caller: Caller): Actor {
  switch (caller.kind) {
    case "service":
      return { kind: "service", subject: caller.owner, keyId: caller.keyId, address: caller.address };
    case "anonymous":
      return { kind: "holder", subject: "", keyId: "", address: caller.address };
    case "system":
      return { kind: "system", subject: "", keyId: "", address: "" };
  }
}
