import { randomBytes } from "node:crypto";
import { type Clock, type Clocks, LONGEST_TIMER_MS, type Random, type Timers } from "./clocks.ts";

/** The wall clock, for tokens that carry times. The database's clock judges keys, never this one. */
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

/** The operating system's generator: the only source of chance outside tests. */
export const systemRandom: Random = (byteCount) => randomBytes(byteCount);

/**
 * Keeps the process alive until the returned function is called. The connections and timers of a verifier do not keep
 * it alive, but a program without other work must still get its answer.
 */
export function holdProcess(): () => void {
  const timer = setInterval(() => undefined, LONGEST_TIMER_MS);
  return () => clearInterval(timer);
}

/** Resolves after this many milliseconds, and keeps the process alive until then. */
export const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));
