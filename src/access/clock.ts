/** The wall clock, which may be set. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
}
