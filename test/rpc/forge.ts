import { crc32 } from "node:zlib";

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const CRC_CHARACTERS = 6;

/** A secret of the right form and checksum that nobody made: what a forger who knows the format can do. */
export function forge(genuine: string): string {
  const body = genuine.slice(0, -CRC_CHARACTERS);
  const checked = body.slice(0, -1) + (body.endsWith("0") ? "1" : "0");
  return checked + checksum(checked);
}

/** A secret with a typo: its last character is another. */
export function mistype(genuine: string): string {
  return genuine.slice(0, -1) + (genuine.endsWith("0") ? "1" : "0");
}

function checksum(text: string): string {
  let digits = "";
  for (let rest = crc32(text); digits.length < CRC_CHARACTERS; rest = Math.floor(rest / ALPHABET.length)) {
    digits = ALPHABET.charAt(rest % ALPHABET.length) + digits;
  }
  return digits;
}
