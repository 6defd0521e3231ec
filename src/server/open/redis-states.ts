import type { Logger } from "pino";
import type { RedisHealth } from "../../redis/watch-redis.ts";

/** The purposes of Redis. */
export type RedisPurpose = "bus" | "revocation_set" | "limiter";

export interface RedisStatesOptions {
  readonly log: Logger;
  readonly monotonicMs: () => number;
}

/** A reconnection is no outage: how long it may take, in milliseconds. */
const QUIET_MS = 3000;

/** The effect of each purpose's absence. */
const WITHOUT: Readonly<Record<RedisPurpose, string>> = {
  bus: "revocations take until the next renewal of a lease",
  revocation_set: "nothing can be verified by it if Postgres is away",
  limiter: "CLAVIGER_ON_LIMITER_LOSS decides on keys with limits",
};

/** Whether Redis can be used, by purpose: for metrics, and for one line when it cannot and one when it can again. */
export class RedisStates {
  readonly #options: RedisStatesOptions;
  readonly #up = new Map<RedisPurpose, boolean>();

  constructor(options: RedisStatesOptions) {
    this.#options = options;
  }

  /** By purpose; without Redis nothing. */
  get up(): ReadonlyMap<RedisPurpose, boolean> {
    return this.#up;
  }

  /** Where one purpose reports. It is down until it reports otherwise. */
  of(purpose: RedisPurpose): RedisHealth {
    const { log, monotonicMs } = this.#options;
    let downSinceMs: number | undefined;
    let isTold = false;
    this.#up.set(purpose, false);
    return {
      worked: () => {
        const forMs = Math.round(monotonicMs() - (downSinceMs ?? monotonicMs()));
        if (isTold) log.info({ event: "redis", purpose, forMs }, "Redis can be used again");
        [downSinceMs, isTold] = [undefined, false];
        this.#up.set(purpose, true);
      },
      failed: (reason) => {
        downSinceMs ??= monotonicMs();
        this.#up.set(purpose, false);
        if (isTold || monotonicMs() - downSinceMs < QUIET_MS) return;
        isTold = true;
        log.warn({ event: "redis", purpose, reason }, `Redis cannot be used: ${WITHOUT[purpose]}`);
      },
    };
  }
}
