import { readFile } from "node:fs/promises";
import { Secret } from "../../keys/secret.ts";
import type { Timers } from "../../system/clocks.ts";

/** Milliseconds between two reads that must agree: longer than a writer needs from truncating a file to filling it. */
const SETTLE_MS = 10;
/** Reads of a file that keeps changing, after which the last content counts. */
const SETTLE_TURNS = 5;

/** There is no secret to call with. The message ends with what to do, and repeats nothing of the source's content. */
export class NoSecretError extends Error {
  override readonly name = "NoSecretError";
}

export interface WatchedFileOptions {
  readonly path: string;
  /** Milliseconds between two reads of the file. */
  readonly everyMs: number;
  /** Called once when the file is or becomes bad, and again for each different problem. Does not throw. */
  readonly onProblem: (error: Error) => void;
  readonly timers: Timers;
  /** Waits and keeps the process alive meanwhile, because a call depends on it. */
  readonly pause: (ms: number) => Promise<unknown>;
}

/**
 * The secret in a file that may be replaced at any time, in any way.
 * The file is polled, not watched: docs/decisions/0015-polled-files.md.
 */
export class WatchedFile {
  readonly #options: WatchedFileOptions;
  #secret: Secret | undefined;
  #problem: string | undefined;
  #first: Promise<Secret> | undefined;
  #timer: { cancel(): void } | undefined;
  #closed = false;
  /** The number of the last read that began, and of the last that counted: a late read does not overwrite a newer one. */
  #begun = 0;
  #taken = 0;

  constructor(options: WatchedFileOptions) {
    this.#options = options;
  }

  /** The secret of the last read; the first call starts the reads. Rejects only if the file never held a secret. */
  async current(): Promise<Secret> {
    this.#watch();
    if (this.#secret !== undefined) return this.#secret;
    this.#first ??= this.reread().finally(() => {
      this.#first = undefined;
    });
    return await this.#first;
  }

  /** Reads the file now. A file without a secret leaves the last one in use. Rejects only if there is none. */
  async reread(): Promise<Secret> {
    const turn = ++this.#begun;
    const reading = await this.#readSettled();
    if (turn > this.#taken) {
      this.#taken = turn;
      this.#take(reading);
    }
    if (this.#secret !== undefined) return this.#secret;
    throw reading;
  }

  /** Stops the regular reads. The last secret stays in use. May be called twice. */
  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  #watch(): void {
    if (this.#timer !== undefined || this.#closed) return;
    const { timers, everyMs } = this.#options;
    const look = async () => {
      await this.reread().catch(() => undefined);
      if (!this.#closed) this.#timer = timers.after(everyMs, () => void look());
    };
    this.#timer = timers.after(everyMs, () => void look());
  }

  #take(reading: Secret | Error): void {
    if (reading instanceof Secret) {
      this.#secret = reading;
      this.#problem = undefined;
      return;
    }
    const isNews = reading.message !== this.#problem;
    this.#problem = reading.message;
    if (!isNews) return;
    const rest =
      this.#secret === undefined
        ? ". Until then no call can be made with it"
        : ". Until then the last secret stays in use";
    this.#options.onProblem(new Error(reading.message + rest));
  }

  /** Accepts new content once two reads in a row agree, because a read may catch a file half-written. */
  async #readSettled(): Promise<Secret | Error> {
    let reading = await readSecret(this.#options.path);
    for (let turn = 0; turn < SETTLE_TURNS && !isSame(reading, this.#secret); turn++) {
      await this.#options.pause(SETTLE_MS);
      const again = await readSecret(this.#options.path);
      if (isSame(again, reading)) return again;
      reading = again;
    }
    return reading;
  }
}

function isSame(a: Secret | Error, b: Secret | Error | undefined): boolean {
  return a instanceof Secret && b instanceof Secret && a.reveal() === b.reveal();
}

async function readSecret(path: string): Promise<Secret | Error> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : "unknown error";
    return new NoSecretError(
      `the key file ${path} cannot be read (${code}). Put the secret there, readable by this process`,
    );
  }
  if (text.trim() === "") return new NoSecretError(`the key file ${path} is empty. Put the secret there, on one line`);
  return (
    readSecretText(text) ??
    new NoSecretError(
      `the key file ${path} does not hold a secret. Put the secret there, on one line, and nothing else`,
    )
  );
}

/**
 * The secret in a text, without the white space around it; undefined if the text cannot be one. A text that cannot be a
 * header value is refused here, because the error of Node or of a client library would repeat it.
 */
export function readSecretText(text: string): Secret | undefined {
  const trimmed = text.trim();
  return /^[\x21-\x7e]+$/.test(trimmed) ? new Secret(trimmed) : undefined;
}
