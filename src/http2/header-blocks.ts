import { tooMuch } from "./budgets.ts";
import { Flag, frameSizeError, LARGEST_STREAM_ID, protocolError } from "./frames.ts";

/** A whole header block, in one piece. */
export interface HeaderBlock {
  readonly streamId: number;
  readonly isLast: boolean;
  /** The stream that it depends on by its priority, which nothing else is made of; 0 without. */
  readonly dependency: number;
  readonly bytes: Buffer;
  readonly from: number;
  readonly to: number;
}

/** One that goes on in CONTINUATION frames. */
interface OpenBlock {
  readonly streamId: number;
  readonly isLast: boolean;
  readonly dependency: number;
  readonly parts: Buffer[];
  length: number;
}

/** Bytes of a block before it is decoded. A list that is too large is refused after that, to keep the table right. */
const MOST_BLOCK_BYTES = 64 * 1024;

/** Puts header blocks together (RFC 9113, sections 4.3, 6.2 and 6.10). */
export class HeaderBlocks {
  #open: OpenBlock | undefined;

  /** Whether a block is not whole yet. */
  get isOpen(): boolean {
    return this.#open !== undefined;
  }

  /** The stream whose CONTINUATION has to come next. */
  get openStreamId(): number | undefined {
    return this.#open?.streamId;
  }

  /** A HEADERS frame; undefined if its block goes on. */
  begin(flags: number, streamId: number, bytes: Buffer, from: number, to: number): HeaderBlock | undefined {
    const hasPadding = (flags & Flag.padded) !== 0;
    const hasPriority = (flags & Flag.priority) !== 0;
    const begin = from + (hasPadding ? 1 : 0) + (hasPriority ? 5 : 0);
    if (begin > to) throw frameSizeError("HEADERS");
    const end = to - (hasPadding ? (bytes[from] as number) : 0);
    if (begin > end) throw protocolError("more padding than payload");
    const dependency = hasPriority ? bytes.readUInt32BE(begin - 5) & LARGEST_STREAM_ID : 0;
    const isLast = (flags & Flag.endStream) !== 0;
    if ((flags & Flag.endHeaders) !== 0) return { streamId, isLast, dependency, bytes, from: begin, to: end };
    const parts = [Buffer.from(bytes.subarray(begin, end))];
    this.#open = { streamId, isLast, dependency, parts, length: end - begin };
    return undefined;
  }

  /** A CONTINUATION frame; undefined if the block goes on. */
  goOn(flags: number, bytes: Buffer, from: number, to: number): HeaderBlock | undefined {
    const open = this.#open;
    if (open === undefined) throw protocolError("CONTINUATION without HEADERS");
    open.length += to - from;
    if (open.length > MOST_BLOCK_BYTES) throw tooMuch("a header block is too long; send fewer fields");
    open.parts.push(Buffer.from(bytes.subarray(from, to)));
    if ((flags & Flag.endHeaders) === 0) return undefined;
    this.#open = undefined;
    const { streamId, isLast, dependency, parts, length } = open;
    return { streamId, isLast, dependency, bytes: Buffer.concat(parts), from: 0, to: length };
  }
}
