import { FIRST_WINDOW, Flag, LARGEST_WINDOW, MAX_PAYLOAD_BYTES, Type } from "./frames.ts";
import { encodeTableSize } from "./hpack/encoder.ts";
import type { Output } from "./output.ts";
import type { Http2Stream } from "./stream.ts";

export interface SenderOptions {
  readonly output: Output;
  /** The end of the stream's answer was sent. */
  readonly onAnswered: (stream: Http2Stream) => void;
  /** All that waited on the stream was sent. Not called out of `write`: its caller knows. */
  readonly onDrained: (stream: Http2Stream) => void;
  /** A DATA frame of so many bytes was sent, which the client may answer with control frames. `isEnd`: the last of one write. */
  readonly onData: (bytes: number, isEnd: boolean) => void;
}

/** Bytes of an answer that may wait before its writer should. */
const ROOMY_BYTES = 16_384;
const NO_TABLE = encodeTableSize(0);

/**
 * Sends answers as far as the client's windows (RFC 9113, section 5.2) and its socket let them. Streams that wait take
 * turns, one frame each.
 */
export class Sender {
  readonly #options: SenderOptions;
  readonly #output: Output;
  readonly #waiting = new Set<Http2Stream>();
  #window = FIRST_WINDOW;
  #owesTableSize = false;
  /** The window that a new stream has. */
  #streamWindow = FIRST_WINDOW;

  constructor(options: SenderOptions) {
    this.#options = options;
    this.#output = options.output;
  }

  get streamWindow(): number {
    return this.#streamWindow;
  }

  respond(stream: Http2Stream, block: Uint8Array, isLast: boolean): void {
    if (isLast) stream.isAnswered = true;
    this.#headers(stream.id, block, isLast);
    if (isLast) this.#options.onAnswered(stream);
  }

  answer(stream: Http2Stream, block: Uint8Array, message: Uint8Array, trailers: Uint8Array): void {
    this.#headers(stream.id, block, false);
    if (!this.#fits(stream, message.length)) {
      this.write(stream, message);
      this.end(stream, trailers);
      return;
    }
    stream.isAnswered = true;
    this.#data(stream, message, 0, message.length);
    this.#headers(stream.id, trailers, true);
    this.#options.onAnswered(stream);
  }

  write(stream: Http2Stream, bytes: Uint8Array): boolean {
    if (stream.waiting === undefined && this.#fits(stream, bytes.length)) {
      if (bytes.length > 0) this.#data(stream, bytes, 0, bytes.length);
      return true;
    }
    stream.waiting ??= [];
    stream.waiting.push({ bytes, sent: 0 });
    stream.waitingBytes += bytes.length;
    this.#waiting.add(stream);
    this.#sendSome(stream, Number.POSITIVE_INFINITY);
    return stream.waitingBytes <= ROOMY_BYTES;
  }

  end(stream: Http2Stream, trailers: Uint8Array | undefined): void {
    stream.isAnswered = true;
    stream.trailers = trailers;
    if (stream.waiting === undefined) this.#finish(stream);
  }

  /** The client lets a stream, or the connection, send more. */
  widen(stream: Http2Stream | undefined, bytes: number): "tooLarge" | undefined {
    if (stream === undefined) {
      this.#window += bytes;
      if (this.#window > LARGEST_WINDOW) return "tooLarge";
      this.sendWaiting();
    } else {
      stream.sendWindow += bytes;
      if (stream.sendWindow > LARGEST_WINDOW) return "tooLarge";
      if (stream.waiting !== undefined) this.#goOn(stream, Number.POSITIVE_INFINITY);
    }
    return undefined;
  }

  /** SETTINGS_INITIAL_WINDOW_SIZE changed, for the open streams too. */
  setStreamWindow(bytes: number, streams: Iterable<Http2Stream>): "tooLarge" | undefined {
    const change = bytes - this.#streamWindow;
    this.#streamWindow = bytes;
    if (change === 0) return undefined;
    for (const stream of streams) {
      stream.sendWindow += change;
      if (stream.sendWindow > LARGEST_WINDOW) return "tooLarge";
    }
    if (change > 0) this.sendWaiting();
    return undefined;
  }

  /** Sends what waited for a window or for the socket. */
  sendWaiting(): void {
    for (let isMoving = true; isMoving && this.#waiting.size > 0; ) {
      isMoving = false;
      for (const stream of this.#waiting) {
        if (this.#output.isBlocked || this.#window <= 0) return;
        if (this.#goOn(stream, 1)) isMoving = true;
      }
    }
  }

  forget(stream: Http2Stream): void {
    stream.waiting = undefined;
    stream.waitingBytes = 0;
    this.#waiting.delete(stream);
  }

  #fits(stream: Http2Stream, bytes: number): boolean {
    if (this.#output.isBlocked || bytes > MAX_PAYLOAD_BYTES) return false;
    return bytes <= stream.sendWindow && bytes <= this.#window;
  }

  /** Like `#sendSome`, with room for more afterwards. */
  #goOn(stream: Http2Stream, mostFrames: number): boolean {
    const hasMoved = this.#sendSome(stream, mostFrames);
    if (stream.waiting === undefined && !stream.isAnswered) this.#options.onDrained(stream);
    return hasMoved;
  }

  /** At most so many frames; true if there was one. */
  #sendSome(stream: Http2Stream, mostFrames: number): boolean {
    let frames = 0;
    while (stream.waiting !== undefined && frames < mostFrames && !this.#output.isBlocked) {
      const first = stream.waiting[0];
      if (first === undefined) break;
      const left = first.bytes.length - first.sent;
      // Windows may be below 0.
      const size = Math.max(0, Math.min(left, stream.sendWindow, this.#window, MAX_PAYLOAD_BYTES));
      if (size === 0 && left > 0) break;
      this.#data(stream, first.bytes, first.sent, first.sent + size);
      first.sent += size;
      stream.waitingBytes -= size;
      frames += 1;
      if (first.sent === first.bytes.length) stream.waiting.shift();
      if (stream.waiting.length === 0) this.#allSent(stream);
    }
    return frames > 0;
  }

  #allSent(stream: Http2Stream): void {
    this.forget(stream);
    if (stream.isAnswered) this.#finish(stream);
  }

  #finish(stream: Http2Stream): void {
    const { trailers } = stream;
    if (trailers === undefined) this.#output.frame(0, Type.data, Flag.endStream, stream.id);
    else this.#headers(stream.id, trailers, true);
    this.#options.onAnswered(stream);
  }

  #data(stream: Http2Stream, bytes: Uint8Array, from: number, to: number): void {
    const size = to - from;
    stream.sendWindow -= size;
    this.#window -= size;
    this.#output.frame(size, Type.data, 0, stream.id);
    this.#output.bytes(bytes, from, to);
    this.#options.onData(size, to === bytes.length);
  }

  /** The client's SETTINGS_HEADER_TABLE_SIZE: this end uses no table, and says so in the next block. */
  tableSizeChanged(): void {
    this.#owesTableSize = true;
  }

  #headers(id: number, encoded: Uint8Array, isLast: boolean): void {
    const block = this.#owesTableSize ? Buffer.concat([NO_TABLE, encoded]) : encoded;
    this.#owesTableSize = false;
    const end = isLast ? Flag.endStream : 0;
    if (block.length <= MAX_PAYLOAD_BYTES) {
      this.#output.frame(block.length, Type.headers, end | Flag.endHeaders, id);
      this.#output.bytes(block);
      return;
    }
    for (let at = 0; at < block.length; at += MAX_PAYLOAD_BYTES) {
      const to = Math.min(at + MAX_PAYLOAD_BYTES, block.length);
      const flags = (at === 0 ? end : 0) | (to === block.length ? Flag.endHeaders : 0);
      this.#output.frame(to - at, at === 0 ? Type.headers : Type.continuation, flags, id);
      this.#output.bytes(block, at, to);
    }
  }
}
