import type { Timers } from "../verify/clocks.ts";

/** Timers whose time a test moves. */
export class FakeTimers implements Timers {
  #nowMs = 0;
  readonly #due = new Map<object, { readonly atMs: number; readonly work: () => void }>();

  after(ms: number, work: () => void): { cancel(): void } {
    const id = {};
    this.#due.set(id, { atMs: this.#nowMs + ms, work });
    return { cancel: () => void this.#due.delete(id) };
  }

  /** How many have neither run nor been cancelled. */
  get pending(): number {
    return this.#due.size;
  }

  /** Lets `ms` go by, with all that is due on the way, each followed by the promises that it settles. */
  async pass(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    for (;;) {
      const [first] = [...this.#due].filter(([, { atMs }]) => atMs <= endMs).sort(([, a], [, b]) => a.atMs - b.atMs);
      if (first === undefined) break;
      const [id, { atMs, work }] = first;
      this.#nowMs = atMs;
      this.#due.delete(id);
      work();
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#nowMs = endMs;
  }
}
