export interface ReadBoundOptions {
  readonly monotonicMs: () => number;
  /** Secrets that are read at once at most: a burst. */
  readonly mostReads: number;
  /** … and where there have been more than so many for so many milliseconds: then it is no burst, and all only wait. */
  readonly standingReads: number;
  readonly standingReadsMs: number;
}

/** Share of `standingReads` below which a queue is gone: above it, it would only be let grow again. */
const DRAINED = 0.25;

/** Bounds the reads that are under way: a burst is let in, a queue that stands is not (as CoDel has it, RFC 8289). */
export class ReadBound {
  readonly #options: ReadBoundOptions;
  #underWay = 0;
  #crowdedSinceMs: number | undefined;

  constructor(options: ReadBoundOptions) {
    this.#options = options;
  }

  /** How many may be under way now. */
  get most(): number {
    const { monotonicMs, mostReads, standingReads, standingReadsMs } = this.#options;
    const since = this.#crowdedSinceMs;
    return since !== undefined && monotonicMs() - since > standingReadsMs ? standingReads : mostReads;
  }

  /** Whether one more may begin, or a batch, which is let in as one. */
  hasRoom(): boolean {
    return this.#underWay < this.most;
  }

  begin(): void {
    this.#underWay += 1;
    if (this.#underWay > this.#options.standingReads) this.#crowdedSinceMs ??= this.#options.monotonicMs();
  }

  end(): void {
    this.#underWay -= 1;
    if (this.#underWay <= this.#options.standingReads * DRAINED) this.#crowdedSinceMs = undefined;
  }
}
