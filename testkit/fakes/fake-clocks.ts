import type { Clocks, Timers } from "../../src/system/clocks.ts";

/** Time that stands still until it is told to pass; for tests. */
export class FakeClocks implements Clocks, Timers {
  #monotonicMs = 1000;
  #wallMs = 1_700_000_000_000;
  readonly #timers = new Set<{ readonly dueMs: number; readonly work: () => void }>();

  monotonicMs(): number {
    return this.#monotonicMs;
  }

  wallMs(): number {
    return this.#wallMs;
  }

  after(ms: number, work: () => void): { cancel(): void } {
    const timer = { dueMs: this.#monotonicMs + ms, work };
    this.#timers.add(timer);
    return { cancel: () => this.#timers.delete(timer) };
  }

  /** Timers that have neither run nor been cancelled. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Time passes; timers that are due run, in order, and what they set off too. */
  async pass(ms: number): Promise<void> {
    const endMs = this.#monotonicMs + ms;
    for (;;) {
      await settled();
      const [next] = [...this.#timers].sort((a, b) => a.dueMs - b.dueMs);
      if (next === undefined || next.dueMs > endMs) break;
      this.#advance(Math.max(0, next.dueMs - this.#monotonicMs));
      this.#timers.delete(next);
      next.work();
    }
    this.#advance(endMs - this.#monotonicMs);
    await settled();
  }

  /** Time passes and no timer runs, as while the event loop is busy. */
  stall(ms: number): void {
    this.#advance(ms);
  }

  /** The machine sleeps: only the wall clock counts it. */
  suspend(ms: number): void {
    this.#wallMs += ms;
  }

  #advance(ms: number): void {
    this.#monotonicMs += ms;
    this.#wallMs += ms;
  }
}

/** Promises that can settle have. */
async function settled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}
