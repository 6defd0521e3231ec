export const MINUTE_MS = 60_000;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;

/** The longest delay of a timer of Node: a longer one fires at once. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * First and last millisecond that `google.protobuf.Timestamp` and ISO 8601 with four digits can hold: the years 1 to 9999.
 * Postgres has earlier and later times, and does not read how JavaScript writes the later ones.
 */
export const FIRST_TIME_MS = -62_135_596_800_000;
export const LAST_TIME_MS = 253_402_300_799_999;

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

/** The only source of randomness: returns that many bytes, fit for secrets. */
export type Random = (byteCount: number) => Uint8Array;

/**
 * Returns W in milliseconds: the wait by the revoker's clock after which a lease of `termMs` is over by the verifier's
 * clock. The rate of each clock may differ from true time by ε (docs/protocol/revocation.md#r10).
 */
export function waitingTime(termMs: number, clockRateError: number): number {
  return (termMs * (1 + clockRateError)) / (1 - clockRateError);
}
