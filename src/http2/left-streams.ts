/**
 * The streams that this end left before their client could know, oldest first. Frames of such a stream are no fault. A
 * client takes at most `most` streams to be open, so older ones are known to it.
 */
export class LeftStreams {
  readonly #most: number;
  readonly #ids = new Set<number>();

  constructor(most: number) {
    this.#most = most;
  }

  add(id: number): void {
    this.#ids.add(id);
    if (this.#ids.size <= this.#most) return;
    const [oldest] = this.#ids;
    if (oldest !== undefined) this.#ids.delete(oldest);
  }

  has(id: number): boolean {
    return this.#ids.has(id);
  }

  /** The client has said its last on it. */
  delete(id: number): void {
    this.#ids.delete(id);
  }
}
