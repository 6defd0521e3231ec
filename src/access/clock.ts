/** What time it is by the wall clock, which may be set. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
}
