import type { Duplex } from "node:stream";
import { HEAD_BYTES, MAX_PAYLOAD_BYTES } from "./frames.ts";

/** Holds the largest frame and some small ones. */
const SLAB_BYTES = 2 * (MAX_PAYLOAD_BYTES + HEAD_BYTES);
/** Slabs that are kept for the next turn. */
const MOST_SPARE = 16;

/** The buffers that connections write into, lent to a connection for a turn: one that is idle holds none. */
export class Slabs {
  readonly #spare: Buffer[] = [];

  take(): Buffer {
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(SLAB_BYTES);
  }

  giveBack(slab: Buffer): void {
    if (this.#spare.length < MOST_SPARE) this.#spare.push(slab);
  }
}

const NO_SLAB = Buffer.alloc(0);

/** The bytes that one connection writes, gathered until `flush`. */
export class Output {
  readonly #socket: Duplex;
  readonly #slabs: Slabs;
  #slab: Buffer = NO_SLAB;
  #at = 0;
  /** The socket takes nothing more until it has drained. */
  isBlocked = false;

  constructor(socket: Duplex, slabs: Slabs) {
    this.#socket = socket;
    this.#slabs = slabs;
  }

  /** Begins a frame with so many bytes of payload, for which it makes room. */
  frame(length: number, type: number, flags: number, streamId: number): void {
    this.#makeRoom(HEAD_BYTES + length);
    const slab = this.#slab;
    const at = this.#at;
    slab[at] = length >> 16;
    slab[at + 1] = length >> 8;
    slab[at + 2] = length;
    slab[at + 3] = type;
    slab[at + 4] = flags;
    slab[at + 5] = streamId >> 24;
    slab[at + 6] = streamId >> 16;
    slab[at + 7] = streamId >> 8;
    slab[at + 8] = streamId;
    this.#at = at + HEAD_BYTES;
  }

  /** A part of the frame that was begun. */
  bytes(source: Uint8Array, from = 0, to: number = source.length): void {
    const slab = this.#slab;
    let at = this.#at;
    // For a few bytes, `set` costs more than it saves.
    if (to - from < 48) for (let next = from; next < to; next++) slab[at++] = source[next] as number;
    else {
      slab.set(from === 0 && to === source.length ? source : source.subarray(from, to), at);
      at += to - from;
    }
    this.#at = at;
  }

  uint16(value: number): void {
    this.#at = this.#slab.writeUInt16BE(value, this.#at);
  }

  uint32(value: number): void {
    this.#at = this.#slab.writeUInt32BE(value, this.#at);
  }

  /** Writes what has been gathered. */
  flush(): void {
    const slab = this.#slab;
    const to = this.#at;
    if (to === 0) return;
    this.#slab = NO_SLAB;
    this.#at = 0;
    if (this.#socket.destroyed || !this.#socket.writable) {
      this.#slabs.giveBack(slab);
      return;
    }
    this.isBlocked = !this.#socket.write(slab.subarray(0, to), () => this.#slabs.giveBack(slab));
  }

  #makeRoom(bytes: number): void {
    if (this.#at + bytes <= this.#slab.length) return;
    this.flush();
    this.#slab = this.#slabs.take();
  }
}
