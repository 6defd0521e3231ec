import { write, writeSync } from "node:fs";

/** Characters that wait to be written; what comes beyond them is left out. */
const MOST_WAITING = 8 * 1024 * 1024;
/** Pause before the next attempt at an output that is full (`EAGAIN`), in milliseconds. */
const PAUSE_MS = 10;
/** Attempts of one `flushSync` at an output that is full; later ones do not wait until it has taken something. */
const MOST_ATTEMPTS = 20;
/** After so many, a second's, an output that is full does not keep the process alive. */
const MOST_REFUSALS = 100;

export interface LogOutputOptions {
  readonly fd: number;
  /** Reports, once the output takes lines again, how many characters were left out. */
  readonly onLeftOut: (characters: number) => void;
}

/**
 * Writes the log to a file descriptor, and never stops the server for it: what a full disk or a closed pipe refuses is
 * left out and counted. sonic-boom 4 tries for ever, with the event loop blocked.
 */
export class LogOutput {
  readonly #options: LogOutputOptions;
  #waiting: string[] = [];
  #waitingCharacters = 0;
  #leftOut = 0;
  #isWriting = false;
  #isStuck = false;
  #refusals = 0;
  /** Whether a line was begun whose end was left out. */
  #isCut = false;

  constructor(options: LogOutputOptions) {
    this.#options = options;
  }

  /**
   * Writes whole lines in order, after this turn, so that `flushSync` can write them before. Text that came together is
   * written in one piece, and nothing with it: small pieces of processes that share a pipe do not mix.
   */
  write(text: string): void {
    if (this.#waitingCharacters + text.length > MOST_WAITING) {
      this.#leftOut += text.length;
      return;
    }
    this.#waiting.push(text);
    this.#waitingCharacters += text.length;
    if (this.#isWriting) return;
    this.#isWriting = true;
    setImmediate(() => this.#writeNext());
  }

  /** Writes what waits before it returns, as far as the output takes it. */
  flushSync(): void {
    let isTaken = true;
    while (isTaken && this.#waiting.length > 0) isTaken = this.#writeNow(this.#take());
  }

  #take(): Buffer {
    const text = this.#waiting.shift() ?? "";
    this.#waitingCharacters -= text.length;
    return Buffer.from(this.#isCut ? `\n${text}` : text);
  }

  /** Whether the output took the piece. */
  #writeNow(piece: Buffer): boolean {
    let rest = piece;
    let attempts = this.#isStuck ? MOST_ATTEMPTS : 0;
    while (rest.length > 0) {
      try {
        rest = rest.subarray(writeSync(this.#options.fd, rest));
        this.#isStuck = false;
      } catch (error) {
        attempts += 1;
        if (!isFull(error) || attempts > MOST_ATTEMPTS) {
          this.#isStuck = true;
          this.#leaveOut(rest, rest.length < piece.length);
          return false;
        }
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
      }
    }
    this.#isCut = false;
    return true;
  }

  #writeNext(): void {
    this.#isWriting = this.#waiting.length > 0;
    if (this.#isWriting) this.#writeRest(this.#take(), false);
  }

  /** `isBegun`: a part of it is written. */
  #writeRest(rest: Buffer, isBegun: boolean): void {
    write(this.#options.fd, rest, (error, written) => {
      if (isFull(error)) {
        const timer = setTimeout(() => this.#writeRest(rest, isBegun), PAUSE_MS);
        this.#refusals += 1;
        if (this.#refusals > MOST_REFUSALS) timer.unref();
        return;
      }
      if (error) this.#leaveOut(rest, isBegun);
      else {
        this.#isStuck = false;
        this.#refusals = 0;
        if (written < rest.length) {
          this.#writeRest(rest.subarray(written), true);
          return;
        }
        this.#isCut = false;
        this.#reportLeftOut();
      }
      this.#writeNext();
    });
  }

  /** A line that was begun is ended before the next. */
  #leaveOut(rest: Buffer, isBegun: boolean): void {
    this.#leftOut += rest.length;
    this.#isCut ||= isBegun;
  }

  #reportLeftOut(): void {
    const leftOut = this.#leftOut;
    if (leftOut === 0) return;
    this.#leftOut = 0;
    this.#options.onLeftOut(leftOut);
  }
}

function isFull(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "EAGAIN" || error.code === "EBUSY");
}
