import { HUFFMAN_CODES, HUFFMAN_LENGTHS, STATIC_FIELDS } from "../src/http2/hpack/tables.ts";

export type Field = readonly [name: string, value: string];

/** How one field is written. */
export interface FieldForm {
  /** The field's own index where the tables have it; else a literal of the kind below. */
  readonly useIndex: boolean;
  readonly literal: "with indexing" | "without indexing" | "never indexed";
  readonly isHuffman: boolean;
}

/** Kinds of literals: flags, and the largest number that the prefix holds. */
const LITERAL: Readonly<Record<FieldForm["literal"], readonly [flags: number, most: number]>> = {
  "with indexing": [0x40, 0x3f],
  "without indexing": [0x00, 0x0f],
  "never indexed": [0x10, 0x0f],
};

const STATIC_COUNT = STATIC_FIELDS.length / 2;

/** A plain HPACK encoder with every form that RFC 7541 allows; latin1 only. */
export class HpackTableEncoder {
  /** Newest first. */
  #table: Field[] = [];
  #capacity = 4096;

  /** A size update, to be put before the fields of a block. */
  resize(capacity: number): Buffer {
    this.#capacity = capacity;
    this.#evict();
    return Buffer.from(integer(0x20, 0x1f, capacity));
  }

  encode(field: Field, form: FieldForm): Buffer {
    const [name, value] = field;
    const index = this.#indexOf((entry) => entry[0] === name && entry[1] === value);
    if (form.useIndex && index > 0) return Buffer.from(integer(0x80, 0x7f, index));
    const [flags, most] = LITERAL[form.literal];
    const nameIndex = form.useIndex ? this.#indexOf((entry) => entry[0] === name) : 0;
    const nameBytes = nameIndex > 0 ? [] : text(name, form.isHuffman);
    if (form.literal === "with indexing") {
      this.#table.unshift(field);
      this.#evict();
    }
    return Buffer.from([...integer(flags, most, nameIndex), ...nameBytes, ...text(value, form.isHuffman)]);
  }

  /** The first index that fits; 0 if none does. */
  #indexOf(fits: (entry: Field) => boolean): number {
    for (let index = 1; index < STATIC_COUNT; index++) {
      if (fits([STATIC_FIELDS[2 * index] ?? "", STATIC_FIELDS[2 * index + 1] ?? ""])) return index;
    }
    const at = this.#table.findIndex(fits);
    return at < 0 ? 0 : STATIC_COUNT + at;
  }

  #evict(): void {
    const bytes = () => this.#table.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0);
    while (bytes() > this.#capacity) this.#table.pop();
  }
}

function text(value: string, isHuffman: boolean): number[] {
  const bytes = isHuffman ? huffman(value) : [...Buffer.from(value, "latin1")];
  return [...integer(isHuffman ? 0x80 : 0, 0x7f, bytes.length), ...bytes];
}

function huffman(value: string): number[] {
  let bits = "";
  for (const byte of Buffer.from(value, "latin1")) {
    bits += (HUFFMAN_CODES[byte] ?? 0).toString(2).padStart(HUFFMAN_LENGTHS[byte] ?? 0, "0");
  }
  const padded = bits.padEnd(Math.ceil(bits.length / 8) * 8, "1");
  return (padded.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2));
}

function integer(flags: number, most: number, value: number): number[] {
  if (value < most) return [flags | value];
  const bytes = [flags | most];
  let rest = value - most;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  return [...bytes, rest];
}
