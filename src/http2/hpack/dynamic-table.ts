/** Bytes that RFC 7541, section 4.1, and RFC 9113, section 6.5.2, count for a field besides its name and value. */
export const FIELD_OVERHEAD_BYTES = 32;

const FEWEST_SLOTS = 8;

/** The dynamic table of RFC 7541, section 2.3.2: a ring of the newest fields. */
export class HpackDynamicTable {
  #names: string[] = new Array(FEWEST_SLOTS).fill("");
  #values: string[] = new Array(FEWEST_SLOTS).fill("");
  /** The slot of the next field. */
  #next = 0;
  #count = 0;
  #bytes = 0;
  #capacity: number;

  /** @param capacity in bytes */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get count(): number {
    return this.#count;
  }

  /** @param age 0 is the newest field; less than `count` */
  nameAt(age: number): string {
    return this.#names[this.#slotOf(age)] as string;
  }

  valueAt(age: number): string {
    return this.#values[this.#slotOf(age)] as string;
  }

  /** A field that is larger than the capacity empties the table and does not enter it. */
  insert(name: string, value: string): void {
    const bytes = name.length + value.length + FIELD_OVERHEAD_BYTES;
    this.#evictTo(this.#capacity - bytes);
    if (bytes > this.#capacity) return;
    if (this.#count === this.#names.length) this.#grow();
    this.#names[this.#next] = name;
    this.#values[this.#next] = value;
    this.#next = (this.#next + 1) & (this.#names.length - 1);
    this.#count += 1;
    this.#bytes += bytes;
  }

  resize(capacity: number): void {
    this.#capacity = capacity;
    this.#evictTo(capacity);
  }

  #evictTo(bytes: number): void {
    while (this.#count > 0 && this.#bytes > bytes) {
      const slot = this.#slotOf(this.#count - 1);
      this.#bytes -= this.#entryBytes(slot);
      this.#names[slot] = "";
      this.#values[slot] = "";
      this.#count -= 1;
    }
  }

  #entryBytes(slot: number): number {
    return (this.#names[slot] as string).length + (this.#values[slot] as string).length + FIELD_OVERHEAD_BYTES;
  }

  #slotOf(age: number): number {
    return (this.#next - 1 - age) & (this.#names.length - 1);
  }

  /** Doubles the slots, so that their number stays a power of two. */
  #grow(): void {
    const inOrder = (ring: readonly string[]) => [
      ...ring.slice(this.#next),
      ...ring.slice(0, this.#next),
      ...new Array<string>(ring.length).fill(""),
    ];
    this.#names = inOrder(this.#names);
    this.#values = inOrder(this.#values);
    this.#next = this.#count;
  }
}
