export interface TurnWatchOptions {
  readonly monotonicMs: () => number;
  /**
   * Milliseconds that a turn of the event loop may bring calls, and how many it may bring in any case: a turn that is
   * long for another reason, such as a garbage collection, brings few.
   */
  readonly mostTurnMs: number;
  readonly leastTurnCalls: number;
}

/**
 * Tells that more calls came at once than are answered in time. Node reads every socket that has something before it
 * does anything else: a call that it comes to late in such a turn has waited as long, and with it everything behind.
 */
export class TurnWatch {
  readonly #options: TurnWatchOptions;
  #beganMs = 0;
  #calls = 0;

  constructor(options: TurnWatchOptions) {
    this.#options = options;
  }

  /** To be asked for each call as it comes. */
  isOver(): boolean {
    const { monotonicMs, mostTurnMs, leastTurnCalls } = this.#options;
    if (this.#calls === 0) {
      this.#beganMs = monotonicMs();
      setImmediate(() => {
        this.#calls = 0;
      });
    }
    this.#calls += 1;
    return this.#calls > leastTurnCalls && monotonicMs() - this.#beganMs > mostTurnMs;
  }
}
