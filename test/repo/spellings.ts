import { createHash } from "node:crypto";

/** A secret that may stand nowhere, and what it is, to be named when it is found. */
export interface Canary {
  readonly name: string;
  readonly text: string;
}

/** Where something was found. */
export interface Find {
  readonly where: string;
  readonly canary: string;
  readonly spelling: string;
}

/** A place to search, as bytes or text. */
export interface Place {
  readonly where: string;
  readonly content: string | Buffer;
}

/** Every spelling in which a secret could leave: in full, its body alone, base64, hex, and plain SHA-256. */
export function spellingsOf(text: string): Readonly<Record<string, string>> {
  const body = /^(?:[a-z]+_(?:live|test)_)([0-9A-Za-z]{43})/.exec(text)?.[1];
  const digest = createHash("sha256").update(text).digest();
  const spellings = {
    full: text,
    ...(body === undefined ? {} : { body, "base64 of the body": base64(Buffer.from(body)) }),
    base64: base64(Buffer.from(text)),
    base64url: Buffer.from(text).toString("base64url"),
    hex: Buffer.from(text).toString("hex"),
    "SHA-256 in hex": digest.toString("hex"),
    "SHA-256 in base64": base64(digest),
    "SHA-256 in base64url": digest.toString("base64url"),
    "SHA-256 in bytes": digest.toString("latin1"),
  };
  return spellings;
}

/** Every spelling of a canary that is in a place. Hex counts in either case. */
export function search(canaries: readonly Canary[], places: readonly Place[]): Find[] {
  return places.flatMap(({ where, content }) => {
    const text = typeof content === "string" ? content : content.toString("latin1");
    const lowerCase = text.toLowerCase();
    return canaries.flatMap(({ name, text: secret }) =>
      Object.entries(spellingsOf(secret))
        .filter(([spelling, form]) => (/hex/.test(spelling) ? lowerCase : text).includes(form))
        .map(([spelling]) => ({ where, canary: name, spelling })),
    );
  });
}

/** Without padding, which may be cut off. */
function base64(bytes: Buffer): string {
  return bytes.toString("base64").replace(/=+$/, "");
}
