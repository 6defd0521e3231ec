import type { Clocks, Moment } from "../system/clocks.ts";

/**
 * The permission to answer from a cache until a deadline (Gray and Cheriton, 1989). Each use reads the clocks; no timer
 * ends a lease, because queued requests run before timers after a stall (docs/protocol/revocation.md#r2).
 */
export class Lease {
  readonly #clocks: Clocks;
  #since: Moment = { monotonicMs: Number.NEGATIVE_INFINITY, wallMs: Number.NEGATIVE_INFINITY };
  #termMs = 0;

  constructor(clocks: Clocks) {
    this.#clocks = clocks;
  }

  /** Grants a lease of `termMs` from `since`, which must be read before the grant is requested (docs/protocol/revocation.md#r1). */
  grant(since: Moment, termMs: number): void {
    this.#since = since;
    this.#termMs = termMs;
  }

  /** Ends the lease at once. */
  end(): void {
    this.#termMs = 0;
  }

  isLive(): boolean {
    return this.remainingMs() > 0;
  }

  /** Milliseconds until the lease ends, by the clock that shows less (docs/protocol/revocation.md#r11); 0 after its end. */
  remainingMs(): number {
    const monotonic = this.#clocks.monotonicMs() - this.#since.monotonicMs;
    const wall = this.#clocks.wallMs() - this.#since.wallMs;
    return Math.max(0, this.#termMs - Math.max(monotonic, wall));
  }
}
