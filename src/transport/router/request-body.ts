import type { Readable } from "node:stream";

/** Bytes that may wait for their reader; beyond it nothing more is taken from the connection. */
const MOST_WAITING_BYTES = 64 * 1024;

/** The part of a body that has been read. */
export interface ReadBody {
  readonly chunks: readonly Buffer[];
  readonly isAll: boolean;
}

export interface RequestBodyOptions {
  /** Where the body comes from; it is not listened to before the first chunk is asked for. */
  readonly source: Readable;
  /** The part that was read from the source already. Default: nothing. */
  readonly read?: ReadBody | undefined;
  /** The places in a piece at which messages end. Called for each piece as it comes, also for the part read already. */
  readonly endsOf: (piece: Buffer) => readonly number[];
}

/** Waits to be read. */
interface Part {
  readonly bytes: Buffer;
  readonly endsMessage: boolean;
}

/**
 * A body in as few chunks as possible: the pieces of a message that come within one turn of the event loop are one
 * chunk. The router takes 50 µs for a chunk, however small, and Node (26) makes one of each DATA frame. No chunk has
 * more than one message, so that the router's answer does not depend on how the body was cut. Rejects if the body
 * breaks off.
 */
export class RequestBody implements AsyncIterable<Uint8Array>, AsyncIterator<Uint8Array, undefined> {
  readonly #source: Readable;
  readonly #endsOf: RequestBodyOptions["endsOf"];
  #waiting: Part[] = [];
  /** The number of waiting chunks that have been read. */
  #read = 0;
  #bytes = 0;
  #isListening = false;
  #isStopped = false;
  #hasEnded = false;
  #error: unknown;
  #wake: () => void = () => undefined;
  #isWaking = false;

  constructor({ source, read, endsOf }: RequestBodyOptions) {
    this.#source = source;
    this.#endsOf = endsOf;
    for (const chunk of read?.chunks ?? []) this.#take(chunk);
    this.#hasEnded = read?.isAll ?? false;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    if (!this.#isListening) this.#listen();
    while (this.#read === this.#waiting.length) {
      if (this.#error !== undefined) throw this.#error;
      if (this.#hasEnded || this.#isStopped) return { done: true, value: undefined };
      await new Promise<void>((wake) => {
        this.#wake = wake;
      });
    }
    const value = this.#nextChunk();
    this.#bytes -= value.length;
    if (this.#bytes <= MOST_WAITING_BYTES && !this.#hasEnded && !this.#isStopped) this.#source.resume();
    return { done: false, value };
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
    let from = 0;
    for (const to of this.#endsOf(piece)) {
      this.#waiting.push({ bytes: piece.subarray(from, to), endsMessage: true });
      from = to;
    }
    if (from < piece.length) this.#waiting.push({ bytes: piece.subarray(from), endsMessage: false });
    this.#bytes += piece.length;
  }

  /** All that is there of one message. */
  #nextChunk(): Uint8Array {
    const parts: Buffer[] = [];
    for (let isWhole = false; !isWhole && this.#read < this.#waiting.length; this.#read += 1) {
      const { bytes, endsMessage } = this.#waiting[this.#read] as Part;
      parts.push(bytes);
      isWhole = endsMessage;
    }
    if (this.#read === this.#waiting.length) {
      this.#waiting = [];
      this.#read = 0;
    }
    const [first] = parts;
    return parts.length === 1 && first !== undefined ? first : Buffer.concat(parts);
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
