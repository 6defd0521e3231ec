import { HpackBlockReader } from "./block-reader.ts";
import { FIELD_OVERHEAD_BYTES, HpackDynamicTable } from "./dynamic-table.ts";
import { HpackError } from "./error.ts";
import { RememberedBlocks } from "./remembered-blocks.ts";
import { STATIC_FIELDS } from "./tables.ts";

/** One decoded header block. All streams whose blocks have the same bytes share it, so it never changes. */
export interface HeaderList {
  /** Names and values in turns, in the order of the block; one UTF-16 unit per byte (latin1). */
  readonly fields: readonly string[];
  /** The size of all fields by RFC 9113, section 6.5.2: 32 bytes per field besides name and value. */
  readonly bytes: number;
  /** More bytes or fields than the limits allow: `fields` lacks the rest. The dynamic table is right all the same. */
  readonly isTooLarge: boolean;
  /** Kept by `requestHeadOf`, which works it out when first asked. */
  head: unknown;
}

export interface HpackLimits {
  /**
   * SETTINGS_HEADER_TABLE_SIZE as sent to the client, in bytes; at least 4096. That is the size until the client has
   * acknowledged the setting, and a smaller table on this side would decode earlier blocks wrongly.
   */
  readonly tableBytes: number;
  /** The largest header list by RFC 9113, section 6.5.2. */
  readonly listBytes: number;
  /** The most fields of one header list. */
  readonly mostFields: number;
  /** The most blocks that are remembered with their lists; 0 decodes each block. */
  readonly rememberedBlocks: number;
}

/** SETTINGS_HEADER_TABLE_SIZE before any SETTINGS frame. */
const INITIAL_TABLE_BYTES = 4096;
const STATIC_COUNT = STATIC_FIELDS.length / 2;
const MOST_SIZE_UPDATES = 2;

/** The first bits of a field or size update (RFC 7541, section 6). Under each, the rest of the byte is an index or size. */
const INDEXED = 0x80;
const WITH_INDEXING = 0x40;
const SIZE_UPDATE = 0x20;
const INDEXED_PREFIX = 0x7f;
const WITH_INDEXING_PREFIX = 0x3f;
const SIZE_UPDATE_PREFIX = 0x1f;
const WITHOUT_INDEXING_PREFIX = 0x0f;

class DecodedList implements HeaderList {
  readonly fields: string[] = [];
  bytes = 0;
  isTooLarge = false;
  head: unknown = undefined;
}

/** Decodes the header blocks of one connection, in the order in which they came (RFC 7541). */
export class HpackDecoder {
  readonly #limits: HpackLimits;
  readonly #table = new HpackDynamicTable(INITIAL_TABLE_BYTES);
  readonly #remembered: RememberedBlocks<HeaderList>;
  #hasTableChanged = false;

  constructor(limits: HpackLimits) {
    if (limits.tableBytes < INITIAL_TABLE_BYTES) {
      throw new RangeError(`tableBytes is ${limits.tableBytes}. Set it to ${INITIAL_TABLE_BYTES} or more`);
    }
    this.#limits = limits;
    this.#remembered = new RememberedBlocks(limits.rememberedBlocks);
  }

  /**
   * Decodes the complete header block between `from` and `to`; reads `bytes` only during the call. A block with the
   * bytes of an earlier one may give the same object. Throws HpackError on a malformed block: a connection error of type
   * COMPRESSION_ERROR, after which the table is undefined and the decoder must not be used.
   */
  decode(bytes: Uint8Array, from: number, to: number): HeaderList {
    const buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const known = this.#remembered.find(buffer, from, to);
    if (known !== undefined) return known;
    this.#hasTableChanged = false;
    const list = this.#decode(new HpackBlockReader(buffer, from, to));
    if (this.#hasTableChanged) this.#remembered.forget();
    else this.#remembered.note(buffer, from, to, list);
    return list;
  }

  #decode(reader: HpackBlockReader): HeaderList {
    const list = new DecodedList();
    this.#updateSize(reader);
    while (!reader.isAtEnd) {
      const first = reader.peek();
      if (first >= INDEXED) {
        const index = reader.integer(INDEXED_PREFIX);
        this.#add(list, this.#nameAt(index), this.#valueAt(index));
      } else if (first >= WITH_INDEXING) {
        const name = this.#readName(reader, WITH_INDEXING_PREFIX);
        const value = reader.string();
        this.#hasTableChanged = true;
        this.#table.insert(name, value);
        this.#add(list, name, value);
      } else if (first >= SIZE_UPDATE) {
        throw new HpackError("a size update comes after a field or a second update. Correct the client's encoder");
      } else {
        const name = this.#readName(reader, WITHOUT_INDEXING_PREFIX);
        this.#add(list, name, reader.string());
      }
    }
    return list;
  }

  #updateSize(reader: HpackBlockReader): void {
    for (let count = 0; count < MOST_SIZE_UPDATES; count++) {
      if (reader.isAtEnd || !isSizeUpdate(reader.peek())) return;
      const size = reader.integer(SIZE_UPDATE_PREFIX);
      const { tableBytes } = this.#limits;
      if (size > tableBytes) {
        throw new HpackError(`a size update asks for ${size} bytes. Keep to SETTINGS_HEADER_TABLE_SIZE, ${tableBytes}`);
      }
      this.#hasTableChanged = true;
      this.#table.resize(size);
    }
  }

  #readName(reader: HpackBlockReader, prefix: number): string {
    const index = reader.integer(prefix);
    return index === 0 ? reader.string() : this.#nameAt(index);
  }

  #nameAt(index: number): string {
    if (index > 0 && index < STATIC_COUNT) return STATIC_FIELDS[2 * index] as string;
    return this.#table.nameAt(this.#ageOf(index));
  }

  #valueAt(index: number): string {
    if (index > 0 && index < STATIC_COUNT) return STATIC_FIELDS[2 * index + 1] as string;
    return this.#table.valueAt(this.#ageOf(index));
  }

  #ageOf(index: number): number {
    const age = index - STATIC_COUNT;
    if (age < 0 || age >= this.#table.count) {
      throw new HpackError(`index ${index} names no field of the tables. Correct the client's encoder`);
    }
    return age;
  }

  /** Counts every field; keeps those within the limits, since one byte of a block may name an entry of 4 KiB. */
  #add(list: DecodedList, name: string, value: string): void {
    list.bytes += name.length + value.length + FIELD_OVERHEAD_BYTES;
    const { listBytes, mostFields } = this.#limits;
    if (list.bytes > listBytes || list.fields.length >= 2 * mostFields) list.isTooLarge = true;
    if (!list.isTooLarge) list.fields.push(name, value);
  }
}

function isSizeUpdate(first: number): boolean {
  return first >= SIZE_UPDATE && first < WITH_INDEXING;
}
