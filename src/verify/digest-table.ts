/** Words of a row: 128 bits of the digest, and the slot; slot 0 marks a free row. */
const ROW = 5;
const SLOT = 4;
const FEWEST_ROWS = 16;
/** Above this share of used rows the table doubles. */
const FULL = 0.75;

/**
 * Finds numbered slots by digest: a hash table with open addressing in one typed array, so that a look-up touches one
 * or two cache lines (docs/decisions/0023-digest-table.md). It relies on digests that no client can choose.
 */
export class DigestTable {
  #rows = new Int32Array(ROW * FEWEST_ROWS);
  /** The row of each slot. */
  #rowOf = new Uint32Array(FEWEST_ROWS);
  #mask = FEWEST_ROWS - 1;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The slot of the digest; 0 if the table does not have it. Reads the first 16 characters, each below 256. */
  find(digest: string): number {
    const rows = this.#rows;
    const mask = this.#mask;
    const first = wordAt(digest, 0);
    let row = first & mask;
    for (;;) {
      const at = row * ROW;
      const slot = rows[at + SLOT] ?? 0;
      if (slot === 0) return 0;
      if (rows[at] === first && isRest(rows, at, digest)) return slot;
      row = (row + 1) & mask;
    }
  }

  /** @param slot above 0, and not in the table; nor may the digest be */
  insert(digest: string, slot: number): void {
    if (this.#size >= (this.#mask + 1) * FULL) this.#double();
    if (slot >= this.#rowOf.length) this.#rowOf = grown(this.#rowOf, slot);
    this.#size += 1;
    const row = this.#freeRow(wordAt(digest, 0));
    for (let word = 0; word < SLOT; word += 1) this.#rows[row * ROW + word] = wordAt(digest, 4 * word);
    this.#place(slot, row);
  }

  /** Moves later rows up, so that no look-up ends at a gap before its row. */
  delete(slot: number): void {
    const rows = this.#rows;
    const mask = this.#mask;
    let gap = this.#rowOf[slot] ?? 0;
    for (let row = (gap + 1) & mask; ; row = (row + 1) & mask) {
      const at = row * ROW;
      const moved = rows[at + SLOT] ?? 0;
      if (moved === 0) break;
      const fromHome = (row - (rows[at] ?? 0)) & mask;
      if (fromHome < ((row - gap) & mask)) continue;
      rows.copyWithin(gap * ROW, at, at + ROW);
      this.#place(moved, gap);
      gap = row;
    }
    rows[gap * ROW + SLOT] = 0;
    this.#size -= 1;
  }

  #place(slot: number, row: number): void {
    this.#rows[row * ROW + SLOT] = slot;
    this.#rowOf[slot] = row;
  }

  #freeRow(first: number): number {
    let row = first & this.#mask;
    while (this.#rows[row * ROW + SLOT] !== 0) row = (row + 1) & this.#mask;
    return row;
  }

  #double(): void {
    const old = this.#rows;
    this.#rows = new Int32Array(2 * old.length);
    this.#mask = 2 * this.#mask + 1;
    for (let at = 0; at < old.length; at += ROW) {
      const slot = old[at + SLOT] ?? 0;
      if (slot === 0) continue;
      const row = this.#freeRow(old[at] ?? 0);
      this.#rows.set(old.subarray(at, at + ROW), row * ROW);
      this.#place(slot, row);
    }
  }
}

function isRest(rows: Int32Array, at: number, digest: string): boolean {
  return (
    rows[at + 1] === wordAt(digest, 4) && rows[at + 2] === wordAt(digest, 8) && rows[at + 3] === wordAt(digest, 12)
  );
}

function wordAt(digest: string, at: number): number {
  return (
    digest.charCodeAt(at) |
    (digest.charCodeAt(at + 1) << 8) |
    (digest.charCodeAt(at + 2) << 16) |
    (digest.charCodeAt(at + 3) << 24)
  );
}

function grown(old: Uint32Array<ArrayBuffer>, index: number): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(Math.max(2 * old.length, index + 1));
  larger.set(old);
  return larger;
}
