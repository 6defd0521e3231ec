/** How long a refused change is news, in milliseconds. Whether changes work is known only from those that are tried. */
const LATELY_MS = 60_000;

/** Remembers for a minute that a full disk or a read-only database refused a change. */
export class NoWrites {
  readonly #monotonicMs: () => number;
  #last: { readonly why: string; readonly atMs: number } | undefined;

  constructor(monotonicMs: () => number) {
    this.#monotonicMs = monotonicMs;
  }

  note(why: string): void {
    this.#last = { why, atMs: this.#monotonicMs() };
  }

  /** Undefined once no change was refused for a minute. */
  reason(): string | undefined {
    if (this.#last === undefined || this.#monotonicMs() - this.#last.atMs > LATELY_MS) return undefined;
    return `changes failed within the last minute: ${this.#last.why}`;
  }
}
