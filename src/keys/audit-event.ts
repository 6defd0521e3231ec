import type { Actor, JsonObject } from "./key.ts";

export type AuditAction =
  | "key.created"
  | "key.updated"
  | "key.rotated"
  | "key.revoked"
  | "secret.retired"
  | "secret.leak_reported"
  | "call.denied";

/** One completed or refused action. Holds no secret. */
export interface AuditEvent {
  /** `evt_…`, a TypeID. Unique, so that the log cannot hold an event twice. */
  readonly id: string;
  /** The database's time, in whole milliseconds. */
  readonly time: Date;
  readonly actor: Actor;
  readonly action: AuditAction;
  readonly outcome: "done" | "denied";
  /** Empty if there is none. */
  readonly keyId: string;
  readonly owner: string;
  readonly requestId: string;
  readonly details: JsonObject;
}

/** A signature, and the root secret that it was made under. */
export interface Signature {
  readonly rootId: string;
  /** HMAC-SHA-256, 32 bytes. */
  readonly mac: Buffer;
}

/** The end of a chain of events: its length, and the hash over all of it. */
export interface ChainHead {
  readonly sequence: number;
  readonly hash: Buffer;
}
