import type { Clocks, Timers } from "../verify/clocks.ts";

/** Both clocks of this process, for leases. */
export const systemClocks: Clocks = { monotonicMs: () => performance.now(), wallMs: () => Date.now() };

/** Node's timers. */
export const systemTimers: Timers = {
  after(ms, work) {
    const timer = setTimeout(work, ms).unref();
    return { cancel: () => clearTimeout(timer) };
  },
};

/**
 * Keeps the process alive until the returned function is called. Connections and timers of a verifier do not: a program
 * that has nothing else to wait for must still get its answer.
 */
export function holdProcess(): () => void {
  const timer = setInterval(() => undefined, 2 ** 31 - 1);
  return () => clearInterval(timer);
}

/** Resolves after so many milliseconds, and keeps the process alive until then. */
export const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));
