import { readFile } from "node:fs/promises";

/** Milliseconds between two reads that must agree: longer than a writer needs from truncating a file to filling it. */
const SETTLE_MS = 10;
/** Reads of a file that keeps changing, after which the last content counts. */
const SETTLE_TURNS = 5;

export interface PolledFileOptions<Value> {
  readonly path: string;
  /** The value of a text. Throws an error that says what is wrong with the text. */
  readonly parse: (text: string) => Value;
  /** The error of a file that cannot be read, from the code of Node, such as `ENOENT`. */
  readonly unreadable: (code: string) => Error;
  /** Called when the file is or becomes bad, once for each different problem. Does not throw. */
  readonly onProblem: (error: Error) => void;
  /** Waits and keeps the process alive meanwhile, because a call depends on it. */
  readonly pause: (ms: number) => Promise<unknown>;
}

interface Content<Value> {
  readonly text: string;
  readonly value: Value;
}

/**
 * The value in a file that may be replaced at any time, in any way. The owner asks for each read: the file is polled, not
 * watched (docs/decisions/0015-polled-files.md).
 */
export class PolledFile<Value> {
  readonly #options: PolledFileOptions<Value>;
  #content: Content<Value> | undefined;
  #problem: string | undefined;
  /** The number of the last read that began, and of the last that counted: a late read does not overwrite a newer one. */
  #begun = 0;
  #taken = 0;

  constructor(options: PolledFileOptions<Value>) {
    this.#options = options;
  }

  /** The last good value; undefined if there never was one. An unchanged text keeps the same value. */
  get value(): Value | undefined {
    return this.#content?.value;
  }

  /** Reads the file now. A bad file leaves the last value in use. Rejects only if there is none. */
  async reread(): Promise<Value> {
    const turn = ++this.#begun;
    const reading = await this.#readSettled();
    if (turn > this.#taken) {
      this.#taken = turn;
      this.#take(reading);
    }
    if (this.#content !== undefined) return this.#content.value;
    throw reading;
  }

  #take(reading: Content<Value> | Error): void {
    if (!(reading instanceof Error)) {
      this.#content = reading;
      this.#problem = undefined;
      return;
    }
    if (reading.message === this.#problem) return;
    this.#problem = reading.message;
    this.#options.onProblem(reading);
  }

  /** Accepts new content once two reads in a row agree, because a read may catch a file half-written. */
  async #readSettled(): Promise<Content<Value> | Error> {
    let reading = await this.#read();
    for (let turn = 0; turn < SETTLE_TURNS && !isSame(reading, this.#content); turn++) {
      await this.#options.pause(SETTLE_MS);
      const again = await this.#read();
      if (isSame(again, reading)) return again;
      reading = again;
    }
    return reading;
  }

  async #read(): Promise<Content<Value> | Error> {
    const { path, parse, unreadable } = this.#options;
    try {
      const text = await readFile(path, "utf8");
      return text === this.#content?.text ? this.#content : { text, value: parse(text) };
    } catch (error) {
      if (!(error instanceof Error)) return unreadable("unknown error");
      return "code" in error ? unreadable(String(error.code)) : error;
    }
  }
}

function isSame<Value>(a: Content<Value> | Error, b: Content<Value> | Error | undefined): boolean {
  return b !== undefined && !(a instanceof Error) && !(b instanceof Error) && a.text === b.text;
}
