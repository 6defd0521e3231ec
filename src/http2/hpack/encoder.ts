import { faultOfName, isFieldValue } from "../field-syntax.ts";
import { STATIC_FIELDS } from "./tables.ts";

/**
 * Encodes header blocks with the static table and raw literals only, so that blocks can be prepared once and used on all
 * connections. Raw strings cost a client less to decode than Huffman, for a few bytes more.
 */

const INDEXED = 0x80;
const SIZE_UPDATE = 0x20;
const WITHOUT_INDEXING = 0x00;
const INDEXED_MOST = 0x7f;
const SIZE_UPDATE_MOST = 0x1f;
const WITHOUT_INDEXING_MOST = 0x0f;
const LENGTH_MOST = 0x7f;

const STATUS = ":status";

/** From the last to the first, so that the first index of a name wins. */
const INDEXES = Array.from({ length: STATIC_FIELDS.length / 2 - 1 }, (_, at) => STATIC_FIELDS.length / 2 - 1 - at);
const NAME_INDEX = new Map(INDEXES.map((index) => [STATIC_FIELDS[2 * index], index]));
const FIELD_INDEX = new Map(
  INDEXES.map((index) => [`${STATIC_FIELDS[2 * index]}\0${STATIC_FIELDS[2 * index + 1]}`, index]),
);

/**
 * A header block, or a part of one, with these fields in their order. Names become lower case, and spaces around values
 * are dropped. Throws a TypeError, which quotes no value, for pseudo-headers and for names and values that HTTP/2 does
 * not allow.
 */
export function encodeHeaders(fields: Iterable<readonly [name: string, value: string]>): Buffer {
  const bytes: number[] = [];
  for (const [name, value] of fields) {
    // Only ASCII: toLowerCase also turns the Kelvin sign into k.
    const lower = name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
    const trimmed = value.replace(/^[ \t]+|[ \t]+$/g, "");
    const fault = faultOfName(lower);
    if (fault !== undefined) throw new TypeError(`response field ${JSON.stringify(name)}: ${fault}. Remove the field`);
    if (!isFieldValue(trimmed)) {
      throw new TypeError(`response field ${lower}: the value has a control character or one above 0xff. Encode it`);
    }
    pushField(bytes, lower, trimmed);
  }
  return Buffer.from(bytes);
}

/** The part of a header block with `:status`, which comes before all fields. Throws a RangeError for 101 and no status. */
export function encodeStatus(status: number): Buffer {
  if (!Number.isInteger(status) || status < 100 || status > 999 || status === 101) {
    throw new RangeError(`HTTP/2 has no status ${status}. Give an integer from 100 to 999 other than 101`);
  }
  const bytes: number[] = [];
  pushField(bytes, STATUS, String(status));
  return Buffer.from(bytes);
}

/**
 * A change of the dynamic table's size, for the beginning of a block (RFC 7541, section 6.3). The first block to a client
 * with a SETTINGS_HEADER_TABLE_SIZE below 4096 must begin with one. This encoder uses no table, so 0 serves always.
 */
export function encodeTableSize(tableBytes: number): Buffer {
  const bytes: number[] = [];
  pushInteger(bytes, SIZE_UPDATE, SIZE_UPDATE_MOST, tableBytes);
  return Buffer.from(bytes);
}

function pushField(bytes: number[], name: string, value: string): void {
  const index = FIELD_INDEX.get(`${name}\0${value}`);
  if (index !== undefined) {
    pushInteger(bytes, INDEXED, INDEXED_MOST, index);
    return;
  }
  const nameIndex = NAME_INDEX.get(name) ?? 0;
  pushInteger(bytes, WITHOUT_INDEXING, WITHOUT_INDEXING_MOST, nameIndex);
  if (nameIndex === 0) pushString(bytes, name);
  pushString(bytes, value);
}

function pushString(bytes: number[], text: string): void {
  pushInteger(bytes, 0, LENGTH_MOST, text.length);
  for (let at = 0; at < text.length; at++) bytes.push(text.charCodeAt(at));
}

/** @param most the largest number that fits into the prefix (RFC 7541, section 5.1) */
function pushInteger(bytes: number[], flags: number, most: number, value: number): void {
  if (value < most) {
    bytes.push(flags | value);
    return;
  }
  bytes.push(flags | most);
  let rest = value - most;
  for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  bytes.push(rest);
}
