import type { Clocks, Timers } from "../../src/system/clocks.ts";

/** Clocks for tests: time passes only when a test advances it. */
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

  /** Advances time. Due timers run in order, also those that other timers set. */
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

  /** Advances time without running timers, as when the event loop is blocked. */
  stall(ms: number): void {
    this.#advance(ms);
  }

  /** Suspends the machine: only the wall clock advances. */
  suspend(ms: number): void {
    this.#wallMs += ms;
  }

  #advance(ms: number): void {
    this.#monotonicMs += ms;
    this.#wallMs += ms;
  }
}

/** Resolves after all promises that can settle have settled. */
async function settled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}
