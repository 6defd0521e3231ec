import type { Charged, ChargeOrder } from "../keys/limits.ts";

/**
 * Where limits are kept: in Redis for a cluster, in the process when embedded. Never above a limit while that keeps its
 * data; what was charged in a call that failed may be charged or not, and is not asked for again.
 */
export interface Limiter {
  /** One outcome per cost. Rejects if it does not answer in its time. */
  charge(order: ChargeOrder): Promise<readonly Charged[]>;
}

/** What the ledger says was charged to a key since the beginning of a UTC day: for a limiter that has lost the day. */
export type ReadCharged = (keyId: string, dayStart: Date) => Promise<number>;
