import type { HeldField } from "./held-fields.ts";
import type { Limits } from "./limits.ts";

/** Whether the text has the form of a key id. */
export function isKeyId(text: string): boolean {
  return /^key_[0-7][0-9a-hjkmnp-tv-z]{25}$/.test(text);
}

/** The environment in which a key is used; part of the prefix of its secrets. */
export type Environment = "live" | "test";

export type RevocationReason = "compromised" | "no_longer_used" | "owner_left" | "policy" | "other";

export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject;
export interface JsonObject {
  [name: string]: JsonValue;
}

/** The author of an action. */
export interface Actor {
  readonly kind: "user" | "service" | "holder" | "system";
  /** The owner on whose behalf the actor acted; empty for a holder and for the system. */
  readonly subject: string;
  /** The Claviger key that the actor used or held; empty without one. */
  readonly keyId: string;
  /** Network address of the call; empty if it has none. */
  readonly address: string;
}

/** A key as stored. Times are the database's, in whole milliseconds. */
export interface KeyRecord {
  readonly id: string;
  readonly owner: string;
  readonly displayName: string;
  readonly environment: Environment;
  readonly scopes: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly metadata: JsonObject | null;
  readonly allowedCidrs: readonly string[];
  readonly disabled: boolean;
  /** Null without limits. */
  readonly limits: Limits | null;
  /** Fields that the owner, as a user, cannot loosen, because an administrator or a service has set them. */
  readonly held: readonly HeldField[];
  /** Version of the newest secret. */
  readonly currentVersion: number;
  /** Lifetime of the key's secrets in milliseconds, unless a rotation chooses another. */
  readonly ttlMs: number;
  readonly createTime: Date;
  readonly updateTime: Date;
  readonly createdBy: Actor;
  readonly revokeTime: Date | null;
  readonly revokedBy: Actor | null;
  readonly revokeReason: RevocationReason | null;
  readonly revokeNote: string;
  /** Revision of the last committed change; 0 for a key that was never changed. */
  readonly revision: number;
  /** Revision of the last change that took validity away; 0 if no change did. */
  readonly narrowedRevision: number;
  /** Every verifier obeys such changes up to this revision. */
  readonly settledRevision: number;
}

/** One secret of a key as stored. Never contains the secret itself. */
export interface SecretRecord {
  readonly keyId: string;
  readonly version: number;
  readonly hint: string;
  readonly createTime: Date;
  readonly expireTime: Date;
  /** Set once the secret was rotated out or ended early; may lie in the future. */
  readonly retireTime: Date | null;
  /** When the secret was last valid. Null for never; missing if it was not read. */
  readonly lastUsedTime?: Date | null;
}

/** A key with its visible secrets, newest first, and the database's time of the read. */
export interface KeyView {
  readonly key: KeyRecord;
  readonly secrets: readonly SecretRecord[];
  readonly now: Date;
}

/** Identifies the state that management calls can change (AIP-154). Every change gives the key a new revision. */
export function etagOf(key: KeyRecord): string {
  return `r${key.revision.toString(36)}`;
}
