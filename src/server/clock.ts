import type { Clock } from "../access/clock.ts";
import type { Clocks, Timers } from "../verify/clocks.ts";

/** The wall clock, for tokens that carry times. Whether a key is good is judged by the database's clock, never by it. */
export const systemClock: Clock = { now: () => Date.now() };

/** Milliseconds since some moment, never set back. For spans. */
export const monotonicMs = (): number => performance.now();

/** Both clocks of this process, for leases. */
export const systemClocks: Clocks = { monotonicMs, wallMs: () => Date.now() };

/** Node's timers. */
export const systemTimers: Timers = {
  after(ms, work) {
    const timer = setTimeout(work, ms).unref();
    return { cancel: () => clearTimeout(timer) };
  },
};
