import { HpackError } from "./error.ts";
import { decodeHuffman } from "./huffman.ts";

const MOST_CONTINUATION_BYTES = 5;
const IS_HUFFMAN = 0x80;
const IS_CONTINUED = 0x80;

/** Reads the integers and strings (RFC 7541, section 5) of one header block. */
export class HpackBlockReader {
  /** The position of the next byte. */
  at: number;
  readonly #bytes: Buffer;
  readonly #to: number;

  constructor(bytes: Buffer, from: number, to: number) {
    this.#bytes = bytes;
    this.at = from;
    this.#to = to;
  }

  get isAtEnd(): boolean {
    return this.at >= this.#to;
  }

  /** The next byte, without reading it. */
  peek(): number {
    return this.#bytes[this.at] as number;
  }

  /** @param most the largest number that the prefix holds: all bits of the prefix set */
  integer(most: number): number {
    const prefix = (this.#bytes[this.at++] as number) & most;
    return prefix < most ? prefix : this.#continued(most);
  }

  string(): string {
    if (this.isAtEnd) throw truncated();
    const isHuffman = (this.peek() & IS_HUFFMAN) !== 0;
    const length = this.integer(0x7f);
    const from = this.at;
    const to = from + length;
    if (to > this.#to) throw truncated();
    this.at = to;
    return isHuffman ? decodeHuffman(this.#bytes, from, to) : this.#bytes.toString("latin1", from, to);
  }

  /** Multiplies, because five bytes of seven bits exceed the 32 bits of a shift. */
  #continued(prefix: number): number {
    let value = prefix;
    let scale = 1;
    for (let count = 0; count < MOST_CONTINUATION_BYTES; count++) {
      if (this.isAtEnd) throw truncated();
      const byte = this.#bytes[this.at++] as number;
      value += (byte & 0x7f) * scale;
      if (byte < IS_CONTINUED) return value;
      scale *= 0x80;
    }
    throw new HpackError("an integer has more than 5 continuation bytes. Correct the client's encoder");
  }
}

function truncated(): HpackError {
  return new HpackError("the header block ends within a field. Send complete header blocks");
}
