import type { Random } from "../system/random.ts";

const ID_BYTES = 12;
/** Ids per call of the random source: one each took 5 % of a verification, by its profile. */
const BATCH = 256;

/** Ids for calls whose caller names none: 24 hexadecimal digits of chance. */
export class RequestIds {
  readonly #random: Random;
  #digits = "";
  #at = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  next(): string {
    if (this.#at === this.#digits.length) {
      this.#digits = Buffer.from(this.#random(ID_BYTES * BATCH)).toString("hex");
      this.#at = 0;
    }
    const from = this.#at;
    this.#at += 2 * ID_BYTES;
    return this.#digits.slice(from, this.#at);
  }
}
