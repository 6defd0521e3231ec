import type { KeyRecord, SecretRecord } from "./key.ts";

/** What verifying and describing a secret takes of its key, and no more: each column read costs a cold verification. */
export type FoundKey = Pick<
  KeyRecord,
  | "id"
  | "owner"
  | "displayName"
  | "environment"
  | "scopes"
  | "labels"
  | "metadata"
  | "allowedCidrs"
  | "disabled"
  | "limits"
  | "revokeTime"
>;

/** What a presented secret's digest leads to, with the time and revision that the reading statement saw. */
export interface FoundSecret {
  readonly key: FoundKey;
  readonly secret: Pick<SecretRecord, "version" | "expireTime" | "retireTime">;
  /** The database's time. */
  readonly now: Date;
  readonly revision: number;
}
