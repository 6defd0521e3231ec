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
