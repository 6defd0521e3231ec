import { type Clocks, type Moment, readMoment } from "../system/clocks.ts";

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

  /** @param now read in this turn, after the request arrived (docs/protocol/revocation.md#r2) */
  isLive(now: Moment = readMoment(this.#clocks)): boolean {
    return this.remainingMs(now) > 0;
  }

  /** Milliseconds until the lease ends, by the clock that shows less (docs/protocol/revocation.md#r11); 0 after its end. */
  remainingMs(now: Moment = readMoment(this.#clocks)): number {
    const monotonic = now.monotonicMs - this.#since.monotonicMs;
    const wall = now.wallMs - this.#since.wallMs;
    return Math.max(0, this.#termMs - Math.max(monotonic, wall));
  }
}
