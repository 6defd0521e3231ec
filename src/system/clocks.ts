/** A point in time by both clocks of a process, in milliseconds. */
export interface Moment {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

/**
 * Both clocks of a process. The monotonic clock is never set, but may stand still while the machine is suspended. The
 * wall clock counts that time, but may be set. A duration is over as soon as either clock says so (docs/protocol/revocation.md#r11).
 */
export interface Clocks {
  monotonicMs(): number;
  wallMs(): number;
}

/** The wall clock alone, which may be set. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
}

/** Runs work later. */
export interface Timers {
  /** Runs `work` once, no sooner than after `ms`, unless cancelled. Does not keep the process alive. */
  after(ms: number, work: () => void): { cancel(): void };
}

/** Reads both clocks. */
export function readMoment(clocks: Clocks): Moment {
  return { monotonicMs: clocks.monotonicMs(), wallMs: clocks.wallMs() };
}

/**
 * ε: the most by which the rate of a clock may differ from true time. Nodes and verifiers in agents must agree on it
 * (docs/decisions/0004-clock-error-and-suspend.md).
 */
export const CLOCK_RATE_ERROR = 0.02;

/**
 * Converts a duration measured by another clock into one that this clock can safely count: it may end early, never
 * late. In milliseconds. See docs/decisions/0004-clock-error-and-suspend.md.
 */
export function countedHere(spanMs: number, clockRateError: number): number {
  return Math.floor((spanMs * (1 - clockRateError)) / (1 + clockRateError));
}
