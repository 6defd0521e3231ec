export interface ReadBoundOptions {
  readonly monotonicMs: () => number;
  /** Secrets that are read at once at most: a burst. */
  readonly mostReads: number;
  /** … and where there have been as many for so many milliseconds: then it is no burst, and more would only wait. */
  readonly standingReads: number;
  readonly standingReadsMs: number;
}

/** Bounds the reads that are under way: a burst is let in, a queue that stands is not (as CoDel has it, RFC 8289). */
export class ReadBound {
  readonly #options: ReadBoundOptions;
  #underWay = 0;
  #burstSinceMs = Number.NEGATIVE_INFINITY;
  #crowdedMs = Number.NEGATIVE_INFINITY;

  constructor(options: ReadBoundOptions) {
    this.#options = options;
  }

  /** Whether one more may begin, or a batch, which is let in as one. */
  hasRoom(): boolean {
    const { mostReads, standingReads, standingReadsMs } = this.#options;
    if (this.#underWay < standingReads) return true;
    return this.#underWay < mostReads && this.#crowdedForMs() <= standingReadsMs;
  }

  /** The bound that leaves no room. */
  get most(): number {
    const { mostReads, standingReads } = this.#options;
    return this.#underWay < mostReads ? standingReads : mostReads;
  }

  begin(): void {
    this.#underWay += 1;
  }

  end(): void {
    this.#underWay -= 1;
  }

  /** A statement that returns with all that waited makes no end of a queue: as many have come by the next. */
  #crowdedForMs(): number {
    const nowMs = this.#options.monotonicMs();
    if (nowMs - this.#crowdedMs > this.#options.standingReadsMs) this.#burstSinceMs = nowMs;
    this.#crowdedMs = nowMs;
    return nowMs - this.#burstSinceMs;
  }
}
