import { setTimeout as sleep } from "node:timers/promises";

export interface EventuallyOptions {
  /** Milliseconds until giving up. Default 30,000: more than anything takes on a machine three times as slow. */
  readonly withinMs?: number;
  /** Milliseconds between attempts. Default 25. */
  readonly everyMs?: number;
  /** Stops early: its error is thrown at once. */
  readonly abandonIf?: () => Error | undefined;
}

/** Repeats `attempt` until it does not throw, and returns its value. Throws the last error when the time is over. */
export async function eventually<T>(attempt: () => Promise<T> | T, options: EventuallyOptions = {}): Promise<T> {
  const deadline = performance.now() + (options.withinMs ?? 30_000);
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      const abandoned = options.abandonIf?.();
      if (abandoned) throw abandoned;
      if (performance.now() > deadline) throw error;
    }
    await sleep(options.everyMs ?? 25);
  }
}
