const NOTHING = Buffer.alloc(0);
/** Room for the second piece of a body: most bodies that come in pieces fit. */
const FIRST_BYTES = 256;

/**
 * The bytes of a body so far, in one piece. A body that comes in one chunk is not copied; each byte of another is
 * copied three times at most, however they are cut: the room becomes twice what is needed.
 */
export class ReceivedBytes {
  #bytes: Buffer = NOTHING;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** A view, good until the next change. */
  get bytes(): Buffer {
    return this.#bytes.length === this.#size ? this.#bytes : this.#bytes.subarray(0, this.#size);
  }

  add(chunk: Buffer): void {
    if (this.#size === 0) {
      this.restartWith(chunk);
      return;
    }
    const size = this.#size + chunk.length;
    if (size > this.#bytes.length) this.#grow(size);
    this.#bytes.set(chunk, this.#size);
    this.#size = size;
  }

  /** Forgets what has come, and goes on with this. */
  restartWith(chunk: Buffer): void {
    this.#bytes = chunk;
    this.#size = chunk.length;
  }

  #grow(size: number): void {
    const grown = Buffer.allocUnsafe(Math.max(2 * size, FIRST_BYTES));
    grown.set(this.bytes);
    this.#bytes = grown;
  }
}
