import { Secret } from "../../keys/secret.ts";
import type { Timers } from "../../system/clocks.ts";
import { PolledFile } from "../../system/polled-file.ts";

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

/** The secret in a file, read again regularly from the first call on. */
export class WatchedFile {
  readonly #file: PolledFile<Secret>;
  readonly #options: Pick<WatchedFileOptions, "everyMs" | "timers">;
  #first: Promise<Secret> | undefined;
  #timer: { cancel(): void } | undefined;
  #closed = false;

  constructor({ path, pause, onProblem, everyMs, timers }: WatchedFileOptions) {
    this.#options = { everyMs, timers };
    this.#file = new PolledFile({
      path,
      pause,
      parse: (text) => parseKeyFile(path, text),
      unreadable: (code) =>
        new NoSecretError(
          `the key file ${path} cannot be read (${code}). Put the secret there, readable by this process`,
        ),
      onProblem: ({ message }) => onProblem(new Error(`${message}. Until then ${this.#remainder()}`)),
    });
  }

  /** The secret of the last read; the first call starts the reads. Rejects only if the file never held a secret. */
  async current(): Promise<Secret> {
    this.#watch();
    if (this.#file.value !== undefined) return this.#file.value;
    this.#first ??= this.reread().finally(() => {
      this.#first = undefined;
    });
    return await this.#first;
  }

  /** Reads the file now. A file without a secret leaves the last one in use. Rejects only if there is none. */
  async reread(): Promise<Secret> {
    return await this.#file.reread();
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

  #remainder(): string {
    return this.#file.value === undefined ? "no call can be made with it" : "the last secret stays in use";
  }
}

function parseKeyFile(path: string, text: string): Secret {
  if (text.trim() === "") throw new NoSecretError(`the key file ${path} is empty. Put the secret there, on one line`);
  const secret = readSecretText(text);
  if (secret !== undefined) return secret;
  const advice = "Put the secret there, on one line, and nothing else";
  throw new NoSecretError(`the key file ${path} does not hold a secret. ${advice}`);
}

/**
 * The secret in a text, without the white space around it; undefined if the text cannot be one. A text that cannot be a
 * header value is refused here, because the error of Node or of a client library would repeat it.
 */
export function readSecretText(text: string): Secret | undefined {
  const trimmed = text.trim();
  return /^[\x21-\x7e]+$/.test(trimmed) ? new Secret(trimmed) : undefined;
}
