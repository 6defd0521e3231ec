import type { Verdict } from "./verdict.ts";

/** What a verification is counted under. */
export interface UsageKey {
  /** Empty where the secret was nobody's. */
  readonly keyId: string;
  /** The key of whoever asked, where `keyId` is empty; else, and where anybody may ask, empty. */
  readonly callerId: string;
  /** 0 where `keyId` is empty. */
  readonly version: number;
  readonly verdict: Verdict;
  /** `/package.Service/Method`, or empty. */
  readonly method: string;
  /** Minutes since 1970, by the clock of the process that decided. */
  readonly minute: number;
}

/** What was counted since the batch before. */
export interface UsageDelta extends UsageKey {
  readonly count: number;
  readonly cost: number;
  /** Of the last of them, in seconds since 1970. */
  readonly lastSecond: number;
  /** Where an agent counted: its `usage_proof`, each byte as the character of that code. Not stored. */
  readonly proof?: string | undefined;
}

/** Greatest count, cost or sum that is stored or told: JavaScript reads it exactly. Greater ones stay there. */
export const MOST_COUNTED = Number.MAX_SAFE_INTEGER;

/** What a source sends at once. Sent again it is the same, whatever was counted meanwhile. */
export interface UsageBatch {
  /** The source. */
  readonly epoch: string;
  /** From 1, one after the other. */
  readonly seq: number;
  readonly deltas: readonly UsageDelta[];
}
