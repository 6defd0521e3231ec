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
