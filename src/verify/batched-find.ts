import type { FoundSecret } from "../keys/found-secret.ts";
import type { Timers } from "../system/clocks.ts";

/** Looks up digests on the primary, in one statement; keyed by the digest in hex. */
export type FindSecrets = (digests: readonly Buffer[]) => Promise<ReadonlyMap<string, FoundSecret>>;

interface Batch {
  readonly digests: Buffer[];
  readonly found: Promise<ReadonlyMap<string, FoundSecret>>;
}

export interface BatchedFindOptions {
  readonly find: FindSecrets;
  readonly timers: Timers;
  /** Statements that are under way at most … */
  readonly mostFinds: number;
  /** … and for how many milliseconds that makes others wait: one that hangs must not hold up all. */
  readonly findWaitMs: number;
}

/**
 * Sends look-ups that are asked for in the same turn as one statement, which begins after the last of them. While as
 * many statements are under way as may be, all that come are the next: the more there are, the less each takes.
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
