import { createHmac, type KeyObject, sign } from "node:crypto";

export interface Forgery {
  readonly header: Readonly<Record<string, unknown>>;
  readonly claims: unknown;
  /** A private key for the header's RS256, ES256 or EdDSA; bytes for HS256; nothing for no signature. */
  readonly key?: KeyObject | Buffer;
}

/** A token with any content: libraries refuse to make most of the tokens that attackers send. */
export function forgeToken({ header, claims, key }: Forgery): string {
  const input = `${encode(header)}.${encode(claims)}`;
  return `${input}.${signatureOf(input, header.alg, key).toString("base64url")}`;
}

function encode(value: unknown): string {
  return Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");
}

function signatureOf(input: string, algorithm: unknown, key: Forgery["key"]): Buffer {
  if (key === undefined) return Buffer.alloc(0);
  if (Buffer.isBuffer(key)) return createHmac("sha256", key).update(input).digest();
  return sign(algorithm === "EdDSA" ? null : "sha256", Buffer.from(input), { key, dsaEncoding: "ieee-p1363" });
}
