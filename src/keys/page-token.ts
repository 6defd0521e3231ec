import { createHmac, timingSafeEqual } from "node:crypto";

const MAC_BYTES = 16;

/** Makes and reads page tokens: the place to go on from, authenticated and bound to the filters of the list. */
export class PageTokens {
  readonly #keys: readonly [Buffer, ...Buffer[]];

  /** @param keys newest first; tokens are made with the first and read with any. */
  constructor(keys: readonly [Buffer, ...Buffer[]]) {
    this.#keys = keys;
  }

  /** @param filters any canonical text of the filters; a token made for one is refused for another. */
  make(place: string, filters: string): string {
    return Buffer.concat([mac(this.#keys[0], place, filters), Buffer.from(place)]).toString("base64url");
  }

  /** The place, or undefined for a token that was not made by these keys for these filters. */
  read(token: string, filters: string): string | undefined {
    const bytes = Buffer.from(token, "base64url");
    // Buffer's decoder skips what it does not know: without this a token would have many spellings.
    if (bytes.length <= MAC_BYTES || bytes.toString("base64url") !== token) return undefined;
    const place = bytes.subarray(MAC_BYTES).toString();
    const shown = bytes.subarray(0, MAC_BYTES);
    return this.#keys.some((key) => timingSafeEqual(mac(key, place, filters), shown)) ? place : undefined;
  }
}

function mac(key: Buffer, place: string, filters: string): Buffer {
  const parts = JSON.stringify([place, filters]);
  return createHmac("sha256", key).update(parts).digest().subarray(0, MAC_BYTES);
}
