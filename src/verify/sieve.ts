/** An entry of the cache. */
export interface Sieved {
  readonly place: string;
  /** The mark of SIEVE: used since the hand last passed. */
  isUsed: boolean;
}

/**
 * Keeps up to `capacity` entries by place, and evicts the oldest that was not used lately (SIEVE, Zhang et al., NSDI
 * 2024). Why not LRU: docs/decisions/0006-sieve-not-lru.md.
 */
export class Sieve<Entry extends Sieved> {
  readonly #capacity: number;
  readonly #onGone: (entry: Entry) => void;
  /** In insertion order, which a map keeps. */
  readonly #entries = new Map<string, Entry>();
  #hand = this.#entries.values();

  /** @param onGone called for entries that are evicted, deleted or replaced, but not by `clear`. */
  constructor(capacity: number, onGone: (entry: Entry) => void) {
    this.#capacity = capacity;
    this.#onGone = onGone;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(place: string): Entry | undefined {
    const entry = this.#entries.get(place);
    if (entry !== undefined) entry.isUsed = true;
    return entry;
  }

  set(entry: Entry): void {
    const replaced = this.#entries.get(entry.place);
    if (replaced !== undefined) this.delete(replaced);
    else if (this.#entries.size >= this.#capacity) this.#makeRoom();
    this.#entries.set(entry.place, entry);
  }

  delete(entry: Entry): void {
    this.#entries.delete(entry.place);
    this.#onGone(entry);
  }

  clear(): void {
    this.#entries.clear();
    this.#hand = this.#entries.values();
  }

  /** The hand skips entries that were used since it last passed. */
  #makeRoom(): void {
    for (;;) {
      const { value: entry } = this.#hand.next();
      if (entry === undefined) {
        this.#hand = this.#entries.values();
      } else if (entry.isUsed) {
        entry.isUsed = false;
      } else {
        this.delete(entry);
        return;
      }
    }
  }
}
