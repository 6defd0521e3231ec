/** Pause after the first round of attempts that failed, in milliseconds. Each next one is twice as long. */
const FIRST_PAUSE_MS = 10;
/** … up to this: a database that is back is found within a second. */
const LONGEST_PAUSE_MS = 500;

export interface BackOffOptions {
  /** Ways to connect; a round of attempts is over when each of them has failed. */
  readonly ways: number;
  /** 0 to 1, evenly: spreads the attempts of many nodes. */
  readonly jitter: () => number;
}

/**
 * Bounds the attempts to connect to a database that refuses: after a round that failed, none for a pause that grows, then
 * one at a time. Attempts that are not let through fail at once with the last failure.
 */
export class BackOff<Way> {
  readonly #options: BackOffOptions;
  readonly #failed = new Set<Way>();
  #rounds = 0;
  #isPausing = false;
  #isTrying = false;
  #reason: unknown;

  constructor(options: BackOffOptions) {
    this.#options = options;
  }

  /** Begins an attempt, or throws the last failure. Every attempt that began ends with `succeeded` or `failed`. */
  begin(): void {
    if (this.#rounds === 0) return;
    if (this.#isPausing || this.#isTrying) throw this.#reason;
    this.#isTrying = true;
  }

  succeeded(): void {
    this.#isTrying = false;
    this.#rounds = 0;
    this.#failed.clear();
  }

  failed(way: Way, reason: unknown): void {
    this.#isTrying = false;
    // Others of the same round: they began before its end.
    if (this.#isPausing) return;
    this.#reason = reason;
    this.#failed.add(way);
    if (this.#failed.size < this.#options.ways) return;
    this.#failed.clear();
    this.#isPausing = true;
    const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** this.#rounds, LONGEST_PAUSE_MS);
    this.#rounds += 1;
    setTimeout(
      () => {
        this.#isPausing = false;
      },
      pauseMs * (0.5 + 0.5 * this.#options.jitter()),
    ).unref();
  }
}
