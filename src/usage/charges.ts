import type { Charged, Limits } from "../keys/limits.ts";
import type { Limiter } from "./limiter.ts";

interface Waiting {
  readonly limits: Limits;
  readonly cost: number;
  readonly resolve: (charged: Charged) => void;
  readonly reject: (error: unknown) => void;
}

/** Maximum costs per call: a limiter does nothing else during a call. */
const MOST_AT_ONCE = 500;

/**
 * Charges requests for one key together: those of one turn, and those that come while a charge of the key is under way.
 * Why nodes get no slices: docs/decisions/0011-no-slices-of-quota.md.
 */
export class Charges {
  readonly #limiter: Limiter;
  readonly #queues = new Map<string, Waiting[]>();

  constructor(limiter: Limiter) {
    this.#limiter = limiter;
  }

  charge(keyId: string, limits: Limits, cost: number): Promise<Charged> {
    const { promise, resolve, reject } = Promise.withResolvers<Charged>();
    const one = { limits, cost, resolve, reject };
    const queue = this.#queues.get(keyId);
    if (queue === undefined) {
      this.#queues.set(keyId, [one]);
      queueMicrotask(() => void this.#work(keyId));
    } else {
      queue.push(one);
    }
    return promise;
  }

  async #work(keyId: string): Promise<void> {
    for (;;) {
      const queue = this.#queues.get(keyId);
      const [first] = queue ?? [];
      if (queue === undefined || first === undefined) break;
      const now = queue.splice(0, countOfSame(queue, first.limits));
      try {
        const order = { keyId, limits: first.limits, costs: now.map(({ cost }) => cost) };
        const charged = await this.#limiter.charge(order);
        for (const [at, { resolve, reject }] of now.entries()) {
          const outcome = charged[at];
          if (outcome === undefined) reject(new Error("the limiter answered for fewer than were asked"));
          else resolve(outcome);
        }
      } catch (error) {
        for (const { reject } of now) reject(error);
      }
    }
    this.#queues.delete(keyId);
  }
}

/**
 * How many of the first requests share one call: only those with equal limits, because each is charged under its own.
 */
function countOfSame(queue: readonly Waiting[], limits: Limits): number {
  const other = queue.findIndex((waiting) => !areSame(waiting.limits, limits));
  return Math.min(MOST_AT_ONCE, other === -1 ? queue.length : other);
}

function areSame(one: Limits, two: Limits): boolean {
  return (
    one.requestsPerSecond === two.requestsPerSecond &&
    one.burst === two.burst &&
    one.requestsPerDay === two.requestsPerDay
  );
}
