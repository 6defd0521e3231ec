import type { Clock } from "../access/clock.ts";

/** The wall clock, for tokens that carry times. Whether a key is good is judged by the database's clock, never by it. */
export const systemClock: Clock = { now: () => Date.now() };

/** Milliseconds since some moment, never set back. For spans. */
export const monotonicMs = (): number => performance.now();
