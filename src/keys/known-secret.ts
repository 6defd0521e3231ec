import type { Environment, KeyRecord, SecretRecord } from "./key.ts";
import type { Verdict } from "./lifecycle.ts";
import type { Limits } from "./limits.ts";
import type { UsageDelta } from "./usage-delta.ts";

/**
 * A secret that was read, prepared for verification. It is small, because a process keeps a hundred thousand of them.
 * Valid until its cache entry expires.
 */
export interface KnownSecret<About = string> {
  readonly keyId: string;
  readonly owner: string;
  readonly version: number;
  /** `valid`, or the verdict that applies to the secret whatever the question is. */
  readonly standing: Verdict;
  readonly environment: Environment;
  readonly scopes: readonly string[];
  readonly allowedCidrs: readonly string[];
  readonly limits: Limits | null;
  /**
   * The description of the key and the secret in answers, ready to send. On a server: bytes, each stored as the
   * character of that code.
   */
  readonly about: About;
  /** The revision up to which changes are accounted for. */
  readonly revision: number;
  /** The recorder's reference to the row of its last use, which saves a look-up. */
  counted: UsageDelta | undefined;
}

/** A secret that was read, and the milliseconds from before the read for which it stays valid. */
export interface ReadySecret<About = string> extends Omit<KnownSecret<About>, "counted"> {
  readonly lastsMs: number;
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
