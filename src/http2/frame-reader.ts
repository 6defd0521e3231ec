import { ConnectionError, ErrorCode, HEAD_BYTES, MAX_PAYLOAD_BYTES, PREFACE } from "./frames.ts";

/** One frame, in the bytes that it came in. */
export interface FrameSink {
  /** `from` and `to` bound the payload. The bytes are valid during the call only. */
  frame(type: number, flags: number, streamId: number, bytes: Buffer, from: number, to: number): void;
}

const NOTHING = Buffer.alloc(0);
/** Room for the beginning of a frame that is cut by the end of a chunk. */
const FIRST_REST_BYTES = 256;

/**
 * Cuts what comes on a connection into frames. Whole ones are handed on in place; of others the bytes that have come are
 * kept, each copied twice at most, so that a client pays for memory with bytes.
 */
export class FrameReader {
  readonly #sink: FrameSink;
  #rest = NOTHING;
  #restBytes = 0;
  #isGreeted = false;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** Whether the client's preface has come. */
  get isGreeted(): boolean {
    return this.#isGreeted;
  }

  /** Throws a ConnectionError. */
  read(chunk: Buffer): void {
    let at = this.#restBytes > 0 ? this.#completeRest(chunk) : 0;
    if (!this.#isGreeted) at = this.#greet(chunk, at);
    while (this.#isGreeted && chunk.length - at >= HEAD_BYTES) {
      const to = at + HEAD_BYTES + payloadBytes(chunk, at);
      if (to > chunk.length) break;
      this.#handOn(chunk, at, to);
      at = to;
    }
    if (at < chunk.length) this.#keep(chunk, at, chunk.length);
  }

  #handOn(bytes: Buffer, at: number, to: number): void {
    const streamId =
      (((bytes[at + 5] as number) & 0x7f) << 24) |
      ((bytes[at + 6] as number) << 16) |
      ((bytes[at + 7] as number) << 8) |
      (bytes[at + 8] as number);
    this.#sink.frame(bytes[at + 3] as number, bytes[at + 4] as number, streamId, bytes, at + HEAD_BYTES, to);
  }

  /** Returns where the bytes after the preface begin. */
  #greet(chunk: Buffer, at: number): number {
    const to = Math.min(chunk.length, at + PREFACE.length);
    if (PREFACE.compare(chunk, at, to, 0, to - at) !== 0) throw notHttp2();
    if (to - at < PREFACE.length) return at;
    this.#isGreeted = true;
    return to;
  }

  /** Returns how much of the chunk belonged to the frame that had begun. */
  #completeRest(chunk: Buffer): number {
    let at = 0;
    for (;;) {
      const missing = this.#missing();
      if (missing === 0) break;
      const taken = Math.min(missing, chunk.length - at);
      this.#keep(chunk, at, at + taken);
      at += taken;
      if (taken < missing) return at;
    }
    const [rest, bytes] = [this.#rest, this.#restBytes];
    this.#rest = NOTHING;
    this.#restBytes = 0;
    if (this.#isGreeted) this.#handOn(rest, 0, bytes);
    else this.#greet(rest, 0);
    return at;
  }

  /** Bytes until the rest is a preface, a head, or the frame of that head. */
  #missing(): number {
    if (!this.#isGreeted) {
      if (PREFACE.compare(this.#rest, 0, this.#restBytes, 0, this.#restBytes) !== 0) throw notHttp2();
      return PREFACE.length - this.#restBytes;
    }
    if (this.#restBytes < HEAD_BYTES) return HEAD_BYTES - this.#restBytes;
    return HEAD_BYTES + payloadBytes(this.#rest, 0) - this.#restBytes;
  }

  #keep(chunk: Buffer, from: number, to: number): void {
    const wanted = this.#restBytes + to - from;
    if (wanted > this.#rest.length) {
      const room = Buffer.allocUnsafe(Math.max(2 * wanted, FIRST_REST_BYTES));
      room.set(this.#rest.subarray(0, this.#restBytes));
      this.#rest = room;
    }
    chunk.copy(this.#rest, this.#restBytes, from, to);
    this.#restBytes = wanted;
  }
}

function payloadBytes(bytes: Buffer, at: number): number {
  const length = ((bytes[at] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number);
  if (length > MAX_PAYLOAD_BYTES) {
    throw new ConnectionError(ErrorCode.frameSizeError, `a frame is longer than ${MAX_PAYLOAD_BYTES} bytes; send less`);
  }
  return length;
}

function notHttp2(): ConnectionError {
  return new ConnectionError(ErrorCode.protocolError, "no HTTP/2 preface; send it first");
}
