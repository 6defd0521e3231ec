import { createHmac, timingSafeEqual } from "node:crypto";

const MAC_BYTES = 16;

/** Creates and reads page tokens: the position of the next page, authenticated and bound to the filters of the list. */
export class PageTokens {
  readonly #keys: readonly [Buffer, ...Buffer[]];

  /** @param keys newest first. The first makes tokens; all read them. */
  constructor(keys: readonly [Buffer, ...Buffer[]]) {
    this.#keys = keys;
  }

  /** @param filters any canonical text of the filters. A token for other filters is refused. */
  make(place: string, filters: string): string {
    return Buffer.concat([mac(this.#keys[0], place, filters), Buffer.from(place)]).toString("base64url");
  }

  /** The position; undefined for a token that these keys did not make for these filters. */
  read(token: string, filters: string): string | undefined {
    const bytes = Buffer.from(token, "base64url");
    // Buffer's decoder skips characters outside its alphabet: without this check a token would have many spellings.
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
