import type { KeyRecord, SecretRecord } from "./key.ts";

/**
 * The columns of a key that verifying and describing a secret needs. Each further column costs time on a cold
 * verification.
 */
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

/** The row that a presented secret's digest leads to, with the time and the revision of the reading statement. */
export interface FoundSecret {
  readonly key: FoundKey;
  readonly secret: Pick<SecretRecord, "version" | "expireTime" | "retireTime">;
  readonly now: Date;
  readonly revision: number;
}
