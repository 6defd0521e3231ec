import { DigestTable } from "./digest-table.ts";

/** Entries for which there is room at first. */
const FEWEST = 16;

/**
 * Keeps up to `capacity` entries by place, and evicts the oldest that was not used lately (SIEVE, Zhang et al., NSDI
 * 2024). Each entry has a slot, a number above 0, until it goes. Why not LRU: docs/decisions/0006-sieve-not-lru.md.
 */
export class Sieve<Entry> {
  readonly #capacity: number;
  readonly #onGone: (entry: Entry, slot: number) => void;
  #slots = new DigestTable();
  #entries: (Entry | undefined)[] = [undefined];
  /** The mark of SIEVE: used since the hand last passed. */
  #isUsed = new Uint8Array(FEWEST);
  /** A circular list of slots by age. Slot 0 stands before the oldest and after the newest. */
  #older = new Uint32Array(FEWEST);
  #newer = new Uint32Array(FEWEST);
  /** The slot that the hand passed last. */
  #hand = 0;
  /** The first of a list of free slots, linked by `#newer`; 0 if there is none. */
  #free = 0;

  /** @param onGone called for entries that are evicted, deleted or replaced, but not by `clear`. */
  constructor(capacity: number, onGone: (entry: Entry, slot: number) => void) {
    this.#capacity = capacity;
    this.#onGone = onGone;
  }

  get size(): number {
    return this.#slots.size;
  }

  /** The entry of the place, which counts as a use. */
  get(place: string): Entry | undefined {
    const slot = this.#slots.find(place);
    if (slot === 0) return undefined;
    this.#isUsed[slot] = 1;
    return this.#entries[slot];
  }

  at(slot: number): Entry | undefined {
    return this.#entries[slot];
  }

  /** Returns the entry's slot. */
  set(place: string, entry: Entry): number {
    const replaced = this.#slots.find(place);
    if (replaced !== 0) this.delete(replaced);
    else if (this.size >= this.#capacity) this.#makeRoom();
    const slot = this.#takeSlot();
    this.#slots.insert(place, slot);
    this.#entries[slot] = entry;
    this.#isUsed[slot] = 0;
    this.#link(this.#older[0] ?? 0, slot);
    this.#link(slot, 0);
    return slot;
  }

  delete(slot: number): void {
    const entry = this.#entries[slot];
    if (entry === undefined) return;
    const older = this.#older[slot] ?? 0;
    if (this.#hand === slot) this.#hand = older;
    this.#link(older, this.#newer[slot] ?? 0);
    this.#slots.delete(slot);
    this.#entries[slot] = undefined;
    this.#newer[slot] = this.#free;
    this.#free = slot;
    this.#onGone(entry, slot);
  }

  clear(): void {
    this.#slots = new DigestTable();
    this.#entries = [undefined];
    this.#isUsed = new Uint8Array(FEWEST);
    this.#older = new Uint32Array(FEWEST);
    this.#newer = new Uint32Array(FEWEST);
    this.#hand = 0;
    this.#free = 0;
  }

  /** The hand skips entries that were used since it last passed. */
  #makeRoom(): void {
    for (;;) {
      const slot = this.#newer[this.#hand] ?? 0;
      if (slot !== 0 && this.#isUsed[slot] === 0) {
        this.delete(slot);
        return;
      }
      this.#isUsed[slot] = 0;
      this.#hand = slot;
    }
  }

  #link(older: number, newer: number): void {
    this.#newer[older] = newer;
    this.#older[newer] = older;
  }

  #takeSlot(): number {
    const slot = this.#free;
    if (slot !== 0) {
      this.#free = this.#newer[slot] ?? 0;
      return slot;
    }
    const added = this.#entries.length;
    this.#entries.push(undefined);
    if (added >= this.#newer.length) this.#grow(Math.min(2 * added, this.#capacity + 1));
    return added;
  }

  #grow(length: number): void {
    const [isUsed, older, newer] = [this.#isUsed, this.#older, this.#newer];
    this.#isUsed = new Uint8Array(length);
    this.#isUsed.set(isUsed);
    this.#older = new Uint32Array(length);
    this.#older.set(older);
    this.#newer = new Uint32Array(length);
    this.#newer.set(newer);
  }
}
