export interface SyncTurnsOptions {
  readonly monotonicMs: () => number;
  /** Milliseconds of one turn of the event loop in which messages of `Sync` are handled. */
  readonly mostTurnMs: number;
}

/**
 * Bounds the time that messages of `Sync` take in one turn of the event loop. Node reads every socket that has something
 * before it does anything else, and 64 KB hold 7,000 messages: without a bound a few connections stall the process for
 * seconds. Messages beyond it wait for a later turn. The calling keys take turns, so that a flood delays itself most.
 */
export class SyncTurns {
  readonly #options: SyncTurnsOptions;
  /** By calling key; within a key, the stream that has waited longest comes first. */
  readonly #waiting = new Map<string, (() => void)[]>();
  #isScheduled = false;
  #isTurn = false;
  #beganMs = 0;

  constructor(options: SyncTurnsOptions) {
    this.#options = options;
  }

  /**
   * Whether a message of that caller may be handled now. If not, `work` is called once, when it may. A stream waits with
   * one message at a time.
   */
  take(callerId: string, work: () => void): boolean {
    if (this.#waiting.size === 0 && !this.#isOver()) return true;
    this.#workOffLater();
    const queue = this.#waiting.get(callerId);
    if (queue === undefined) this.#waiting.set(callerId, [work]);
    else queue.push(work);
    return false;
  }

  #workOffLater(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.#workOff());
  }

  #workOff(): void {
    this.#isScheduled = false;
    this.#begin();
    for (const [callerId, queue] of this.#waiting) {
      const work = queue.shift();
      // Behind all others, for its next turn.
      this.#waiting.delete(callerId);
      if (queue.length > 0) this.#waiting.set(callerId, queue);
      work?.();
      if (this.#isOver()) break;
    }
    if (this.#waiting.size > 0) this.#workOffLater();
  }

  #isOver(): boolean {
    if (!this.#isTurn) this.#begin();
    return this.#options.monotonicMs() - this.#beganMs > this.#options.mostTurnMs;
  }

  #begin(): void {
    this.#beganMs = this.#options.monotonicMs();
    if (this.#isTurn) return;
    this.#isTurn = true;
    setImmediate(() => {
      this.#isTurn = false;
    });
  }
}
