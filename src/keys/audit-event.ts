import type { Actor, JsonObject } from "./key.ts";

export type AuditAction =
  | "key.created"
  | "key.updated"
  | "key.rotated"
  | "key.revoked"
  | "secret.retired"
  | "secret.leak_reported"
  | "call.denied";

/** One thing that was done, or refused. Holds no secret. */
export interface AuditEvent {
  /** `evt_…`, a TypeID; unique, so that an event cannot stand twice. */
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

/** A signature, and the root that it was made under. */
export interface Signature {
  readonly rootId: string;
  /** HMAC-SHA-256, 32 bytes. */
  readonly mac: Buffer;
}

/** The end of a chain of events: how long it is, and the hash that stands for all of it. */
export interface ChainHead {
  readonly sequence: number;
  readonly hash: Buffer;
}
