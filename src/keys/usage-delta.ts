import type { Verdict } from "./lifecycle.ts";

/** The attributes by which verifications are counted. */
export interface UsageKey {
  /** Empty if the secret belongs to no key. */
  readonly keyId: string;
  /** The calling key if `keyId` is empty. Otherwise empty, as for methods that need no credential. */
  readonly callerId: string;
  /** 0 if `keyId` is empty. */
  readonly version: number;
  readonly verdict: Verdict;
  /** `/package.Service/Method`, or empty. */
  readonly method: string;
  /** Minutes since 1970, by the clock of the process that decided. */
  readonly minute: number;
}

/** The verifications counted since the preceding batch. */
export interface UsageDelta extends UsageKey {
  readonly count: number;
  readonly cost: number;
  /** Time of the last counted verification, in seconds since 1970. */
  readonly lastSecond: number;
  /**
   * The `usage_proof` of an agent's count, each byte stored as the character of that code. Not stored in the database.
   */
  readonly proof?: string | undefined;
}

/**
 * Largest stored or reported count, cost or sum: the largest integer that JavaScript reads exactly. Greater sums stay
 * at it.
 */
export const MOST_COUNTED = Number.MAX_SAFE_INTEGER;

/** One message of a source. A repetition is identical, whatever was counted in the meantime. */
export interface UsageBatch {
  readonly epoch: string;
  /** Counts from 1 without gaps. */
  readonly seq: number;
  readonly deltas: readonly UsageDelta[];
}
