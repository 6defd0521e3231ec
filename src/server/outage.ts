import type { Logger } from "pino";
import { monotonicMs } from "./clock.ts";

export interface OutageOptions {
  readonly log: Logger;
  readonly event: string;
  /** Logged for each failure. */
  readonly failing: string;
  /** Logged for the first success after failures. */
  readonly well: string;
}

/** Work that is done again and again: logs that it fails, and once that it is well again. */
export class Outage {
  readonly #options: OutageOptions;
  #failures = 0;
  #sinceMs = 0;

  constructor(options: OutageOptions) {
    this.#options = options;
  }

  failed(error: unknown): void {
    const { log, event, failing } = this.#options;
    if (this.#failures === 0) this.#sinceMs = monotonicMs();
    this.#failures += 1;
    log.warn({ event, err: error }, failing);
  }

  succeeded(): void {
    if (this.#failures === 0) return;
    const { log, event, well } = this.#options;
    const forMs = Math.round(monotonicMs() - this.#sinceMs);
    log.info({ event, failures: this.#failures, forMs }, well);
    this.#failures = 0;
  }

  /** Does the work, and notes how it ended. Never rejects. */
  async watch(work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
      this.succeeded();
    } catch (error) {
      this.failed(error);
    }
  }
}
