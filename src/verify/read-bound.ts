export interface ReadBoundOptions {
  readonly monotonicMs: () => number;
  /** Secrets that are read at once at most. */
  readonly mostReads: number;
  /** … and for so many milliseconds after one was refused: there is more to do than is done, and more would only wait. */
  readonly crowdedReads: number;
  readonly crowdedMs: number;
}

/**
 * Bounds concurrent reads: a burst is let in, a queue that stands is kept short.
 * Why: docs/decisions/0021-refuse-when-overloaded.md.
 */
export class ReadBound {
  readonly #options: ReadBoundOptions;
  #underWay = 0;
  #refusedMs = Number.NEGATIVE_INFINITY;

  constructor(options: ReadBoundOptions) {
    this.#options = options;
  }

  /** Whether one more may begin, or a batch, which is let in as one. */
  hasRoom(): boolean {
    const { monotonicMs, mostReads, crowdedReads, crowdedMs } = this.#options;
    if (this.#underWay < crowdedReads) return true;
    return this.#underWay < mostReads && monotonicMs() - this.#refusedMs > crowdedMs;
  }

  /** One that had no room was turned away; returns the bound that left it none. */
  refuse(): number {
    const { monotonicMs, mostReads, crowdedReads } = this.#options;
    this.#refusedMs = monotonicMs();
    return this.#underWay < mostReads ? crowdedReads : mostReads;
  }

  begin(): void {
    this.#underWay += 1;
  }

  end(): void {
    this.#underWay -= 1;
  }
}
