import type { Timers } from "../../system/clocks.ts";

/** Longest that a line waits for others, in milliseconds: what a kill loses of the log. */
const LONGEST_MS = 100;

export interface LineBatchOptions {
  /** Characters that are written at once, about. */
  readonly size: number;
  readonly write: (text: string) => void;
}

/**
 * Writes lines together. A write for each took as much CPU as all else of a verification, and sonic-boom, which can
 * collect them too, counts what it has collected for every line: a tenth of a verification.
 */
export class LineBatch {
  readonly #options: LineBatchOptions;
  #text = "";
  #timer: NodeJS.Timeout | undefined;

  constructor(options: LineBatchOptions) {
    this.#options = options;
  }

  add(line: string): void {
    this.#text += line;
    if (this.#text.length >= this.#options.size) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), LONGEST_MS).unref();
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#text === "") return;
    const text = this.#text;
    this.#text = "";
    this.#options.write(text);
  }
}

export interface LineLimitOptions {
  readonly timers: Timers;
  /** Lines of one kind that are written in a period. */
  readonly most: number;
  /** Length of a period, in milliseconds. */
  readonly periodMs: number;
  /** Reports, at the end of a period, how many lines of the kind were left out. */
  readonly onLeftOut: (kind: string, count: number) => void;
}

/** Kinds that a period tells apart; further kinds share one. */
const MOST_KINDS = 200;
const OTHERS = "other messages";

/**
 * Limits how often lines of one kind are written, so that neither a client nor an outage can fill the log. Each period
 * of a kind begins with a line of it.
 */
export class LineLimit {
  readonly #options: LineLimitOptions;
  readonly #written = new Map<string, number>();

  constructor(options: LineLimitOptions) {
    this.#options = options;
  }

  /** Whether a line of that kind is to be written; if not, it is counted. */
  allows(kind: string): boolean {
    const { most } = this.#options;
    const own = this.#written.has(kind) || this.#written.size < MOST_KINDS ? kind : OTHERS;
    const count = (this.#written.get(own) ?? 0) + 1;
    if (count === 1) this.#begin(own);
    this.#written.set(own, count);
    return count <= most;
  }

  #begin(kind: string): void {
    const { timers, periodMs, most, onLeftOut } = this.#options;
    timers.after(periodMs, () => {
      const leftOut = (this.#written.get(kind) ?? 0) - most;
      this.#written.delete(kind);
      if (leftOut > 0) onLeftOut(kind, leftOut);
    });
  }
}
