import { crc32 } from "node:zlib";

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const VALUES = new Map(Array.from(ALPHABET, (character, value) => [character, BigInt(value)]));
const BASE = 62n;

/** Encodes the big-endian number in `bytes` as exactly `length` base62 characters (0-9, A-Z, a-z), zero-padded. */
export function encodeBase62(bytes: Uint8Array, length: number): string {
  let value = bytes.length === 0 ? 0n : BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
  let text = "";
  for (let i = 0; i < length; i++) {
    text = ALPHABET.charAt(Number(value % BASE)) + text;
    value /= BASE;
  }
  return text;
}

/** Decodes base62 to `byteCount` big-endian bytes. Undefined if the text is not base62 or the number does not fit. */
export function decodeBase62(text: string, byteCount: number): Buffer | undefined {
  let value = 0n;
  for (const character of text) {
    const digit = VALUES.get(character);
    if (digit === undefined) return undefined;
    value = value * BASE + digit;
  }
  const hex = value.toString(16).padStart(byteCount * 2, "0");
  return hex.length > byteCount * 2 ? undefined : Buffer.from(hex, "hex");
}

/** Bytes of randomness and tag together, in the middle of a secret. */
const BODY_BYTES = 32;
const BODY_CHARACTERS = 43;
const CRC_CHARACTERS = 6;
const RFC8959_PREFIX = "secret-token:";
/** A brand, the environment, the body and the checksum. */
const FORM = new RegExp(
  `^([a-z]{2,16}_(?:live|test)_)([0-9A-Za-z]{${BODY_CHARACTERS}})[0-9A-Za-z]{${CRC_CHARACTERS}}$`,
);

/** A text in the form of a secret, of any brand. Does not prove which server made it. */
export interface SecretForm {
  /** The secret without the prefix of RFC 8959. */
  readonly text: string;
  /** Brand and environment, such as `clv_live_`. */
  readonly prefix: string;
  readonly body: Buffer;
}

/**
 * Parses a presented text as a secret: prefix, length, alphabet and checksum. Needs no key, so that verifiers inside
 * agents can use it too. Undefined for a text that no Claviger server can have made.
 */
export function readSecretForm(presented: string): SecretForm | undefined {
  const text = presented.startsWith(RFC8959_PREFIX) ? presented.slice(RFC8959_PREFIX.length) : presented;
  const [, prefix, characters] = FORM.exec(text) ?? [];
  if (prefix === undefined || characters === undefined) return undefined;
  if (checksum(prefix + characters) !== text.slice(-CRC_CHARACTERS)) return undefined;
  // 62^43 > 2^256: without this bound one secret would have two spellings.
  const body = decodeBase62(characters, BODY_BYTES);
  return body && { text, prefix, body };
}

/** Formats a secret: the inverse of `readSecretForm`. */
export function writeSecretForm(prefix: string, body: Uint8Array): string {
  const checked = prefix + encodeBase62(body, BODY_CHARACTERS);
  return checked + checksum(checked);
}

function checksum(text: string): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc32(text));
  return encodeBase62(bytes, CRC_CHARACTERS);
}
