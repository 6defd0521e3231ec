import type { Environment, KeyRecord, SecretRecord } from "./key.ts";
import type { Verdict } from "./lifecycle.ts";
import type { Limits } from "./limits.ts";
import type { UsageDelta } from "./usage-delta.ts";

/** Longest validity of a cached secret, 12 days in milliseconds. V8 stores integers below 2^31 without an object. */
export const LONGEST_MS = 2 ** 30;

/** The start of a read, in whole milliseconds since the creation of the cache, rounded down. */
export interface ReadStart {
  readonly sinceMonotonicMs: number;
  readonly sinceWallMs: number;
}

/**
 * A secret that was read, ready to be judged. It is small, because a process keeps a hundred thousand of them. The fields
 * that each verification reads come first, and share cache lines.
 */
export interface CachedSecret<About = string> extends ReadStart {
  /** Milliseconds from the start of the read for which the secret stays valid; at most `LONGEST_MS`. */
  readonly lastsMs: number;
  /** `valid`, or the verdict that applies to the secret whatever the question is. */
  readonly standing: Verdict;
  readonly environment: Environment;
  readonly scopes: readonly string[];
  readonly allowedCidrs: readonly string[];
  /** The recorder's reference to the row of its last use, which saves a look-up. */
  counted: UsageDelta | undefined;
  /**
   * The description of the key and the secret in answers, ready to send. On a server: bytes, each stored as the
   * character of that code.
   */
  readonly about: About;
  /** The revision up to which changes are accounted for. */
  readonly revision: number;
  readonly keyId: string;
  readonly owner: string;
  readonly version: number;
  readonly limits: Limits | null;
}

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
