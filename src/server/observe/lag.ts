/** Measures how far repeated work is behind: the time since the last run that succeeded began. */
export class Lag {
  readonly #monotonicMs: () => number;
  #doneMs: number;

  constructor(monotonicMs: () => number) {
    this.#monotonicMs = monotonicMs;
    this.#doneMs = monotonicMs();
  }

  get seconds(): number {
    return (this.#monotonicMs() - this.#doneMs) / 1000;
  }

  async measure(work: () => Promise<unknown>): Promise<void> {
    const beganMs = this.#monotonicMs();
    await work();
    this.#doneMs = beganMs;
  }
}
