export interface ReadBoundOptions {
  readonly monotonicMs: () => number;
  /** Maximum of concurrent secret reads. */
  readonly mostReads: number;
  /** Lower maximum for `crowdedMs` after a refusal: under overload, a longer queue adds latency and no throughput. */
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

  /** Whether one more read may begin. A batch counts as one read here. */
  hasRoom(): boolean {
    const { monotonicMs, mostReads, crowdedReads, crowdedMs } = this.#options;
    if (this.#underWay < crowdedReads) return true;
    return this.#underWay < mostReads && monotonicMs() - this.#refusedMs > crowdedMs;
  }

  /** Records a refusal. Returns the limit that caused it. */
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
