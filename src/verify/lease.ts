import type { Clocks, Moment } from "../system/clocks.ts";

/**
 * The permission to answer from a cache until a deadline (Gray and Cheriton, 1989). It is judged by the clocks read at
 * that moment, never by a timer (docs/protocol/revocation.md#r2): after a stall, queued requests run before timers do.
 */
export class Lease {
  readonly #clocks: Clocks;
  #since: Moment = { monotonicMs: Number.NEGATIVE_INFINITY, wallMs: Number.NEGATIVE_INFINITY };
  #termMs = 0;

  constructor(clocks: Clocks) {
    this.#clocks = clocks;
  }

  /** Runs for `termMs` from `since`: a moment read before the request for it (docs/protocol/revocation.md#r1). */
  grant(since: Moment, termMs: number): void {
    this.#since = since;
    this.#termMs = termMs;
  }

  /** Ends it at once. */
  end(): void {
    this.#termMs = 0;
  }

  isLive(): boolean {
    return this.remainingMs() > 0;
  }

  /** Milliseconds until it ends, by whichever clock says less (docs/protocol/revocation.md#r11); 0 once it is over. */
  remainingMs(): number {
    const monotonic = this.#clocks.monotonicMs() - this.#since.monotonicMs;
    const wall = this.#clocks.wallMs() - this.#since.wallMs;
    return Math.max(0, this.#termMs - Math.max(monotonic, wall));
  }
}
