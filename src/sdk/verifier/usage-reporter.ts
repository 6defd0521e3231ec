import type { Clocks, Timers } from "../../system/clocks.ts";
import type { UsageFlusher } from "../../usage/flusher.ts";

export interface UsageReporterOptions {
  readonly flusher: Pick<UsageFlusher, "flush" | "isEmpty">;
  readonly clocks: Pick<Clocks, "monotonicMs">;
  readonly timers: Timers;
  /** Resolves after so many milliseconds and keeps the process alive meanwhile. */
  readonly pause: (ms: number) => Promise<void>;
  /** Milliseconds between two reports. */
  readonly everyMs: number;
}

/** Milliseconds between two attempts to send at the end: about the time after which a broken stream is opened again. */
const SEND_AGAIN_MS = 50;

/** Reports the usage that this process counted: at regular intervals, and once more at the end. */
export class UsageReporter {
  readonly #options: UsageReporterOptions;
  #next: { cancel(): void } | undefined;
  #isEnding = false;

  constructor(options: UsageReporterOptions) {
    this.#options = options;
  }

  /** Reports each `everyMs` until `end`. */
  start(): void {
    const { timers, flusher, everyMs } = this.#options;
    this.#next = timers.after(everyMs, () => {
      void flusher.flush().then(() => this.#isEnding || this.start());
    });
  }

  /**
   * Sends the counts that are left, for `withinMs` at most. A report that is under way lacks the counts since it began, and
   * a stream that has just broken is opened again, so that one attempt is not enough.
   */
  async end(withinMs: number): Promise<void> {
    const { flusher, clocks, pause } = this.#options;
    this.#isEnding = true;
    this.#next?.cancel();
    const endMs = clocks.monotonicMs() + withinMs;
    await this.#flushUntil(endMs);
    while (!flusher.isEmpty && clocks.monotonicMs() < endMs) {
      await pause(SEND_AGAIN_MS);
      await this.#flushUntil(endMs);
    }
  }

  /** Does not wait longer, because a server may never answer a report. */
  async #flushUntil(endMs: number): Promise<void> {
    const { flusher, clocks, timers } = this.#options;
    await new Promise<void>((resolve) => {
      const timer = timers.after(Math.max(0, endMs - clocks.monotonicMs()), resolve);
      void flusher.flush().then(() => {
        timer.cancel();
        resolve();
      });
    });
  }
}
