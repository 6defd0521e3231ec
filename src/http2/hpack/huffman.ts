import { HpackError } from "./error.ts";
import { HUFFMAN_CODES, HUFFMAN_LENGTHS } from "./tables.ts";

/**
 * Decodes Huffman codes four bits at a time. A state is a node of the code tree. Codes have five bits at least, so that
 * four bits complete at most one. An entry holds the next state (bits 0 to 7), the decoded byte (8 to 15) and flags.
 */
const STEPS_PER_STATE = 16;
const BITS_PER_STEP = 4;
const DECODES = 1 << 16;
const IS_EOS = 1 << 17;
/** The next state may be the last one: it was reached by less than 8 bits of padding, all of them ones. */
const MAY_END = 1 << 18;

const EOS = 256;
const STATES = 256;
const ROOT = 0;
const MOST_PADDING_BITS = 7;
/** The shortest code in bits; a string of n bytes decodes to 8 × n / 5 bytes at most. */
const SHORTEST_CODE = 5;

/** The one decoder of the process, built on first use; between calls it holds no state that a later call reads. */
let shared: HuffmanDecoder | undefined;

/** The bytes between `from` and `to`, decoded, as latin1. Throws HpackError on EOS and on wrong padding. */
export function decodeHuffman(bytes: Uint8Array, from: number, to: number): string {
  shared ??= new HuffmanDecoder();
  return shared.decode(bytes, from, to);
}

class HuffmanDecoder {
  readonly #steps = makeSteps();
  #output = Buffer.allocUnsafeSlow(1024);

  decode(bytes: Uint8Array, from: number, to: number): string {
    const most = Math.ceil(((to - from) * 8) / SHORTEST_CODE);
    if (this.#output.length < most) this.#output = Buffer.allocUnsafeSlow(most);
    const output = this.#output;
    const steps = this.#steps;
    let length = 0;
    let entry = MAY_END;
    let flags = 0;
    for (let at = from; at < to; at++) {
      const byte = bytes[at] as number;
      entry = steps[((entry & 0xff) << BITS_PER_STEP) | (byte >> BITS_PER_STEP)] as number;
      if (entry & DECODES) output[length++] = (entry >> 8) & 0xff;
      flags |= entry;
      entry = steps[((entry & 0xff) << BITS_PER_STEP) | (byte & 0xf)] as number;
      if (entry & DECODES) output[length++] = (entry >> 8) & 0xff;
      flags |= entry;
    }
    if (flags & IS_EOS) throw new HpackError("a Huffman string contains EOS. Correct the client's encoder");
    if (!(entry & MAY_END)) {
      throw new HpackError("a Huffman string ends with padding that is wrong. Correct the client's encoder");
    }
    return output.toString("latin1", 0, length);
  }
}

interface Node {
  readonly state: number;
  readonly mayEnd: boolean;
  /** A node, a decoded byte or EOS, for a next bit of 0 and of 1. */
  readonly next: [Node | number | undefined, Node | number | undefined];
}

function makeSteps(): Uint32Array {
  const nodes = makeTree();
  const root = nodes[ROOT] as Node;
  const steps = new Uint32Array(STATES * STEPS_PER_STATE);
  for (const from of nodes) {
    for (let step = 0; step < STEPS_PER_STATE; step++) {
      let node = from;
      let entry = 0;
      for (let shift = BITS_PER_STEP - 1; shift >= 0; shift--) {
        const next = node.next[(step >> shift) & 1] as Node | number;
        node = typeof next === "number" ? root : next;
        if (next === EOS) entry |= IS_EOS;
        else if (typeof next === "number") entry |= DECODES | (next << 8);
      }
      steps[from.state * STEPS_PER_STATE + step] = entry | node.state | (node.mayEnd ? MAY_END : 0);
    }
  }
  return steps;
}

/** The inner nodes of the code tree; the root is the first. */
function makeTree(): Node[] {
  const nodes: Node[] = [{ state: ROOT, mayEnd: true, next: [undefined, undefined] }];
  HUFFMAN_CODES.forEach((code, symbol) => {
    const length = HUFFMAN_LENGTHS[symbol] as number;
    let node = nodes[ROOT] as Node;
    for (let depth = 1; depth < length; depth++) {
      const bit = (code >>> (length - depth)) & 1;
      let next = node.next[bit] as Node | undefined;
      if (next === undefined) {
        const mayEnd = node.mayEnd && bit === 1 && depth <= MOST_PADDING_BITS;
        next = { state: nodes.length, mayEnd, next: [undefined, undefined] };
        nodes.push(next);
        node.next[bit] = next;
      }
      node = next;
    }
    node.next[code & 1] = symbol;
  });
  return nodes;
}
