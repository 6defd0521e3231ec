import type { ManagePolicy } from "./deps.ts";

/** How a change that takes validity away became effective everywhere. */
export interface Receipt {
  readonly revision: number;
  readonly effectiveTime: Date;
  readonly confirmedVerifiers: number;
  readonly expiredVerifiers: number;
  readonly barrierMs: number;
}

/** The receipt of a change that no verifier can have cached: every verification reads storage. */
export function uncachedReceipt(revision: number, effectiveTime: Date): Receipt {
  return { revision, effectiveTime, confirmedVerifiers: 0, expiredVerifiers: 0, barrierMs: 0 };
}

/**
 * Whether validity that ends at `end` ends so soon that the change waits at the barrier: before now + 2W, with
 * W = D(1+ε)/(1−ε) for lease term D and clock rate error ε.
 */
export function endsSoon(end: Date, now: Date, policy: ManagePolicy): boolean {
  const wait = (policy.leaseMs * (1 + policy.clockRateError)) / (1 - policy.clockRateError);
  return end.getTime() < now.getTime() + 2 * wait;
}
