import type { Readable } from "node:stream";

/** Bytes that may wait for their reader; beyond it nothing more is taken from the connection. */
const MOST_WAITING_BYTES = 64 * 1024;

/** What of a body has been read. */
export interface ReadBody {
  readonly chunks: readonly Buffer[];
  readonly isAll: boolean;
}

export interface RequestBodyOptions {
  /** Where the body comes from; it is not listened to before the first chunk is asked for. */
  readonly source: Readable;
  /** What was read from the source already. Default: nothing. */
  readonly read?: ReadBody | undefined;
  /** Told of each piece as it comes, also of what was read already. */
  readonly onPiece: (piece: Buffer) => void;
}

/**
 * A body in as few chunks as possible: all that comes within one turn of the event loop is one chunk. The router takes
 * 50 µs for a chunk, however small, and Node (26) makes one of each DATA frame. Rejects if the body breaks off.
 */
export class RequestBody implements AsyncIterable<Uint8Array>, AsyncIterator<Uint8Array, undefined> {
  readonly #source: Readable;
  readonly #onPiece: (piece: Buffer) => void;
  #waiting: Buffer[] = [];
  #bytes = 0;
  #isListening = false;
  #isStopped = false;
  #hasEnded = false;
  #error: unknown;
  #wake: () => void = () => undefined;
  #isWaking = false;

  constructor({ source, read, onPiece }: RequestBodyOptions) {
    this.#source = source;
    this.#onPiece = onPiece;
    for (const chunk of read?.chunks ?? []) this.#take(chunk);
    this.#hasEnded = read?.isAll ?? false;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    if (!this.#isListening) this.#listen();
    while (this.#waiting.length === 0) {
      if (this.#error !== undefined) throw this.#error;
      if (this.#hasEnded || this.#isStopped) return { done: true, value: undefined };
      await new Promise<void>((wake) => {
        this.#wake = wake;
      });
    }
    const [first = Buffer.alloc(0), ...others] = this.#waiting;
    this.#waiting = [];
    this.#bytes = 0;
    if (!this.#hasEnded && !this.#isStopped) this.#source.resume();
    return { done: false, value: others.length === 0 ? first : Buffer.concat([first, ...others]) };
  }

  async return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.stop();
    return { done: true, value: undefined };
  }

  /** Leaves what comes from now on to others. */
  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    if (!this.#isListening) return;
    this.#source.off("data", this.#onData).off("end", this.#onEnd).off("close", this.#onClose);
    if (!this.#hasEnded) this.#source.pause();
    this.#wake();
  }

  #listen(): void {
    this.#isListening = true;
    const source = this.#source;
    if (this.#hasEnded || this.#isStopped) return;
    if (source.readableEnded) this.#hasEnded = true;
    else if (source.destroyed) this.#error = brokenOff();
    else {
      // Its errors come after it is stopped, too.
      source.on("error", this.#onError).on("end", this.#onEnd).on("close", this.#onClose).on("data", this.#onData);
      source.resume();
    }
  }

  #take(piece: Buffer): void {
    this.#waiting.push(piece);
    this.#bytes += piece.length;
    this.#onPiece(piece);
  }

  readonly #onData = (piece: Buffer): void => {
    try {
      this.#take(piece);
    } catch (error) {
      // Out of a listener it would end the process.
      this.#onError(error);
      return;
    }
    if (this.#bytes > MOST_WAITING_BYTES) this.#source.pause();
    if (this.#isWaking) return;
    this.#isWaking = true;
    setImmediate(() => {
      this.#isWaking = false;
      this.#wake();
    });
  };

  readonly #onEnd = (): void => {
    this.#hasEnded = true;
    this.#wake();
  };

  readonly #onError = (error: unknown): void => {
    this.#error ??= error;
    this.#wake();
  };

  readonly #onClose = (): void => {
    if (!this.#hasEnded) this.#onError(brokenOff());
    else this.#wake();
  };
}

function brokenOff(): Error {
  return new Error("the client went away before its request had all come");
}
