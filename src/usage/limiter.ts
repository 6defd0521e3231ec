import type { Charged, ChargeOrder } from "../keys/limits.ts";

/**
 * The store of limits: Redis for a cluster, the process itself when embedded. It never exceeds a limit while it keeps
 * its data. A call that failed may have charged or not, and is never repeated.
 */
export interface Limiter {
  /** Returns one outcome per cost. Rejects after its time-out. */
  charge(order: ChargeOrder): Promise<readonly Charged[]>;
}

/** The amount that the ledger has for a key since the beginning of a UTC day, for a limiter that has lost the day. */
export type ReadCharged = (keyId: string, dayStart: Date) => Promise<number>;
