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
 * Who brought no more than a fair share of what there is time for is not told so: another's flood must not refuse them.
 */
export class TurnWatch {
  readonly #options: TurnWatchOptions;
  readonly #callsFrom = new Map<object, number>();
  #beganMs = 0;
  #calls = 0;

  constructor(options: TurnWatchOptions) {
    this.#options = options;
  }

  /** To be asked for each call as it comes, with the connection that it comes on. */
  isOver(connection: object): boolean {
    const { monotonicMs, mostTurnMs, leastTurnCalls } = this.#options;
    if (this.#calls === 0) {
      this.#beganMs = monotonicMs();
      setImmediate(() => {
        this.#calls = 0;
        this.#callsFrom.clear();
      });
    }
    this.#calls += 1;
    const own = (this.#callsFrom.get(connection) ?? 0) + 1;
    this.#callsFrom.set(connection, own);
    if (this.#calls <= leastTurnCalls || own <= leastTurnCalls / this.#callsFrom.size) return false;
    return monotonicMs() - this.#beganMs > mostTurnMs;
  }
}
