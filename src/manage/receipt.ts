import type { Settlement } from "../revocation/revoker.ts";
import { CLOCK_RATE_ERROR, waitingTime } from "../system/clocks.ts";
import type { ManagePolicy } from "./deps.ts";

/** How a change that takes validity away became effective on all verifiers. */
export interface Receipt {
  readonly revision: number;
  /** The database's time, continued by this process' clock since the change. */
  readonly effectiveTime: Date;
  readonly confirmedVerifiers: number;
  readonly expiredVerifiers: number;
  readonly barrierMs: number;
  readonly isInRevocationSet: boolean;
}

/** The receipt of a change at `revision`, made at `time` of the database. */
export function receiptOf(revision: number, time: Date, settlement: Settlement): Receipt {
  const { confirmed, expired, durationMs, isInRevocationSet } = settlement;
  const effectiveTime = new Date(time.getTime() + Math.ceil(durationMs));
  return {
    ...{ revision, effectiveTime, isInRevocationSet },
    ...{ confirmedVerifiers: confirmed, expiredVerifiers: expired, barrierMs: durationMs },
  };
}

/** The receipt of a change that was effective before this call. */
export function settledReceipt(revision: number, time: Date): Receipt {
  return receiptOf(revision, time, { confirmed: 0, expired: 0, durationMs: 0, isInRevocationSet: false });
}

/**
 * Whether validity that ends at `end` ends so soon that the change waits at the barrier: before now + 2W. Every cache
 * learns of later ends in time.
 */
export function endsSoon(end: Date, now: Date, { leaseMs }: Pick<ManagePolicy, "leaseMs">): boolean {
  return end.getTime() < now.getTime() + 2 * waitingTime(leaseMs, CLOCK_RATE_ERROR);
}
