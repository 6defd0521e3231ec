import type { FoundSecret } from "../keys/cached-secret.ts";
import type { Timers } from "../system/clocks.ts";

/** Looks up digests on the primary in one statement. Results are keyed by the digest in hex. */
export type FindSecrets = (digests: readonly Buffer[]) => Promise<ReadonlyMap<string, FoundSecret>>;

interface Batch {
  readonly digests: Buffer[];
  readonly found: Promise<ReadonlyMap<string, FoundSecret>>;
}

export interface BatchedFindOptions {
  readonly find: FindSecrets;
  readonly timers: Timers;
  /** Concurrent statements … */
  readonly mostFinds: number;
  /**
   * … and the milliseconds for which they make further look-ups wait: a hanging statement must not block all others.
   */
  readonly findWaitMs: number;
}

/**
 * Combines the look-ups of one event-loop turn into one statement, which begins after the last of them. While the
 * maximum of statements is running, new look-ups collect for the next one: larger batches cost less per look-up.
 */
export class BatchedFind {
  readonly #options: BatchedFindOptions;
  #open: Batch | undefined;
  #underWay = 0;
  #onFreed: () => void = () => {};

  constructor(options: BatchedFindOptions) {
    this.#options = options;
  }

  async find(digest: Buffer): Promise<FoundSecret | undefined> {
    this.#open ??= this.#begin();
    this.#open.digests.push(digest);
    return (await this.#open.found).get(digest.toString("hex"));
  }

  #begin(): Batch {
    const digests: Buffer[] = [];
    return { digests, found: this.#send(digests) };
  }

  async #send(digests: readonly Buffer[]): Promise<ReadonlyMap<string, FoundSecret>> {
    await this.#room();
    this.#open = undefined;
    this.#underWay += 1;
    try {
      return await this.#options.find(digests);
    } finally {
      this.#underWay -= 1;
      this.#onFreed();
    }
  }

  #room(): Promise<void> | undefined {
    const { timers, mostFinds, findWaitMs } = this.#options;
    if (this.#underWay < mostFinds) return undefined;
    return new Promise((resolve) => {
      const timer = timers.after(findWaitMs, resolve);
      this.#onFreed = () => {
        timer.cancel();
        resolve();
      };
    });
  }
}
