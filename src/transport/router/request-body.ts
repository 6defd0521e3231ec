import type { BodySink, HttpExchange } from "../http/exchange.ts";

/** Bytes that may wait for their reader; beyond it nothing more is taken from the connection. */
const MOST_WAITING_BYTES = 64 * 1024;

/** Waits to be read. */
interface Part {
  readonly bytes: Buffer;
  readonly endsMessage: boolean;
}

/**
 * A body in as few chunks as possible: the pieces of a message that come within one turn of the event loop are one
 * chunk. The router takes 50 µs for a chunk, however small. No chunk has more than one message, so that the router's
 * answer does not depend on how the body was cut. Nothing is listened to before the first chunk is asked for. Rejects if
 * the body breaks off.
 */
export class RequestBody implements AsyncIterable<Uint8Array>, AsyncIterator<Uint8Array, undefined>, BodySink {
  readonly #source: Pick<HttpExchange, "listen" | "pause" | "resume" | "drop">;
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

  constructor(source: Pick<HttpExchange, "listen" | "pause" | "resume" | "drop">) {
    this.#source = source;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    if (!this.#isListening && !this.#isStopped) {
      this.#isListening = true;
      this.#source.listen(this);
    }
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

  /** Drops what comes from now on. */
  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#source.drop();
    this.#wake();
  }

  piece(bytes: Buffer, ends: readonly number[]): void {
    if (this.#isStopped) return;
    let from = 0;
    for (const to of ends) {
      this.#waiting.push({ bytes: bytes.subarray(from, to), endsMessage: true });
      from = to;
    }
    if (from < bytes.length) this.#waiting.push({ bytes: bytes.subarray(from), endsMessage: false });
    this.#bytes += bytes.length;
    if (this.#bytes > MOST_WAITING_BYTES) this.#source.pause();
    if (this.#isWaking) return;
    this.#isWaking = true;
    setImmediate(() => {
      this.#isWaking = false;
      this.#wake();
    });
  }

  ended(): void {
    this.#hasEnded = true;
    this.#wake();
  }

  failed(error: Error): void {
    this.#error ??= error;
    this.#wake();
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
}
