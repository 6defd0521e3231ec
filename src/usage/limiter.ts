import { LRUCache } from "lru-cache";
import { type Charged, type ChargeOrder, charge, type Spent } from "../keys/limits.ts";
import { type Clocks, DAY_MS } from "../system/clocks.ts";

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

export interface InProcessLimiterOptions {
  readonly clocks: Pick<Clocks, "wallMs">;
  readonly readCharged: ReadCharged;
  /** Keys that are remembered. The use of other keys is read from the ledger again. */
  readonly capacity: number;
}

/** Limits of a process that runs alone. */
export class InProcessLimiter implements Limiter {
  readonly #options: InProcessLimiterOptions;
  readonly #spent: LRUCache<string, Spent>;

  constructor(options: InProcessLimiterOptions) {
    this.#options = options;
    this.#spent = new LRUCache({ max: options.capacity });
  }

  async charge({ keyId, limits, costs }: ChargeOrder): Promise<readonly Charged[]> {
    const nowMs = this.#options.clocks.wallMs();
    const today = Math.floor(nowMs / DAY_MS);
    const known = this.#spent.get(keyId) ?? { emptyMs: 0, day: undefined, used: 0 };
    const before = await this.#ofToday(keyId, known, { today, isCounted: limits.requestsPerDay > 0 });
    const { spent, charged } = charge(before, limits, costs, nowMs);
    this.#spent.set(keyId, spent);
    return charged;
  }

  /** Each key has one call at a time, so that no other charge interferes. */
  async #ofToday(
    keyId: string,
    known: Spent,
    day: { readonly today: number; readonly isCounted: boolean },
  ): Promise<Spent> {
    const { today, isCounted } = day;
    if (known.day === undefined) {
      if (!isCounted) return known;
      return { ...known, day: today, used: await this.#options.readCharged(keyId, new Date(today * DAY_MS)) };
    }
    return known.day < today ? { ...known, day: today, used: 0 } : known;
  }
}
