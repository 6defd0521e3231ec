import type { HeldField } from "./held-fields.ts";
import type { Limits } from "./limits.ts";

/** Whether the text has the form of a key id. */
export function isKeyId(text: string): boolean {
  return /^key_[0-7][0-9a-hjkmnp-tv-z]{25}$/.test(text);
}

/** What a key is for; part of its secrets' prefix. */
export type Environment = "live" | "test";

export type RevocationReason = "compromised" | "no_longer_used" | "owner_left" | "policy" | "other";

export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject;
export interface JsonObject {
  [name: string]: JsonValue;
}

/** Who did something. */
export interface Actor {
  readonly kind: "user" | "service" | "holder" | "system";
  /** The owner on whose behalf; empty for a holder and for the system. */
  readonly subject: string;
  /** The Claviger key that was used or held; empty without one. */
  readonly keyId: string;
  /** Network address of the call; empty if there was none. */
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
  /** Null for none. */
  readonly limits: Limits | null;
  /** What the owner, as a user, cannot loosen: an administrator or a service has set it. */
  readonly held: readonly HeldField[];
  /** Version of the newest secret. */
  readonly currentVersion: number;
  /** Term of the key's secrets unless a rotation says otherwise, in milliseconds. */
  readonly ttlMs: number;
  readonly createTime: Date;
  readonly updateTime: Date;
  readonly createdBy: Actor;
  readonly revokeTime: Date | null;
  readonly revokedBy: Actor | null;
  readonly revokeReason: RevocationReason | null;
  readonly revokeNote: string;
  /** Revision of the last committed change; 0 for a key that is as it was created. */
  readonly revision: number;
  /** Revision of the last change that took validity away; 0 if there was none. */
  readonly narrowedRevision: number;
  /** Such changes up to here are obeyed by every verifier. */
  readonly settledRevision: number;
}

/** One secret of a key as stored; never the secret. */
export interface SecretRecord {
  readonly keyId: string;
  readonly version: number;
  readonly hint: string;
  readonly createTime: Date;
  readonly expireTime: Date;
  /** Set once the secret was rotated out or ended early; may lie in the future. */
  readonly retireTime: Date | null;
  /** When it was last valid; null for never, missing where it was not read. */
  readonly lastUsedTime?: Date | null;
}

/** A key with those of its secrets that are shown, newest first, and the database's time at which they were read. */
export interface KeyView {
  readonly key: KeyRecord;
  readonly secrets: readonly SecretRecord[];
  readonly now: Date;
}
