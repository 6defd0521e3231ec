/** Bytes of the blocks that one connection remembers, and of the lists that they decode to. */
const MOST_BYTES = 65_536;
/** A power of two. */
const SEEN_SLOTS = 512;

interface Remembered<List> {
  readonly block: Uint8Array;
  readonly hash: number;
  readonly list: List;
}

/**
 * The lists that header blocks decode to, by the bytes of the block. True until the dynamic table changes. Bounded by
 * count and bytes: the oldest block goes first.
 */
export class RememberedBlocks<List extends { readonly bytes: number }> {
  readonly #most: number;
  /** One block for each hash: a later block with the same hash takes the place of the earlier. */
  readonly #byHash = new Map<number, Remembered<List>>();
  /** Parts of the hashes of recent blocks. Only a block that comes again is kept: keeping costs more than decoding. */
  #seen: Uint8Array | undefined;
  #last: Remembered<List> | undefined;
  #bytes = 0;

  /** @param most blocks */
  constructor(most: number) {
    this.#most = most;
  }

  find(bytes: Uint8Array, from: number, to: number): List | undefined {
    const last = this.#last;
    if (last === undefined) return undefined;
    if (isSame(last.block, bytes, from, to)) return last.list;
    const found = this.#byHash.get(hashOf(bytes, from, to));
    if (found === undefined || !isSame(found.block, bytes, from, to)) return undefined;
    this.#last = found;
    return found.list;
  }

  /** Takes note of a block that changed no table, and keeps it if it has come before. */
  note(bytes: Uint8Array, from: number, to: number, list: List): void {
    const size = to - from + list.bytes;
    if (this.#most < 1 || size > MOST_BYTES) return;
    const hash = hashOf(bytes, from, to);
    this.#seen ??= new Uint8Array(SEEN_SLOTS);
    const slot = hash & (SEEN_SLOTS - 1);
    const part = hash >>> 24;
    if (this.#seen[slot] === part) this.#keep({ block: copyOf(bytes, from, to), hash, list }, size);
    else this.#seen[slot] = part;
  }

  forget(): void {
    if (this.#last === undefined) return;
    this.#last = undefined;
    this.#byHash.clear();
    this.#bytes = 0;
  }

  #keep(kept: Remembered<List>, size: number): void {
    this.#drop(this.#byHash.get(kept.hash));
    while (this.#byHash.size >= this.#most || this.#bytes + size > MOST_BYTES) {
      this.#drop(this.#byHash.values().next().value);
    }
    this.#last = kept;
    this.#byHash.set(kept.hash, kept);
    this.#bytes += size;
  }

  #drop(dropped: Remembered<List> | undefined): void {
    if (dropped === undefined) return;
    this.#byHash.delete(dropped.hash);
    this.#bytes -= dropped.block.length + dropped.list.bytes;
  }
}

/** Compares from the end, where the blocks of different calls differ. */
function isSame(block: Uint8Array, bytes: Uint8Array, from: number, to: number): boolean {
  if (block.length !== to - from) return false;
  for (let at = block.length - 1; at >= 0; at--) if (block[at] !== bytes[from + at]) return false;
  return true;
}

/** `Buffer` overrides `slice` with a view. */
function copyOf(bytes: Uint8Array, from: number, to: number): Uint8Array {
  return Uint8Array.prototype.slice.call(bytes, from, to);
}

/** FNV-1a over words of four bytes. A client that makes hashes collide only loses its own remembered blocks. */
function hashOf(bytes: Uint8Array, from: number, to: number): number {
  let hash = 0x811c9dc5;
  let at = from;
  for (; at + 3 < to; at += 4) hash = Math.imul(hash ^ wordAt(bytes, at), 0x01000193);
  for (; at < to; at++) hash = Math.imul(hash ^ (bytes[at] as number), 0x01000193);
  return Math.imul(hash ^ (hash >>> 16), 0x85ebca6b) >>> 1;
}

function wordAt(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] as number) |
    ((bytes[at + 1] as number) << 8) |
    ((bytes[at + 2] as number) << 16) |
    ((bytes[at + 3] as number) << 24)
  );
}
