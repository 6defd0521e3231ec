import { inspect } from "node:util";

const REDACTED = "[redacted]";

/**
 * A secret that cannot be logged, serialised or concatenated by accident. Every conversion to text except `reveal()`
 * gives `[redacted]`.
 */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** Returns the secret itself. Call it only where the secret leaves for its one destination. */
  reveal(): string {
    return this.#text;
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  [Symbol.toPrimitive](): string {
    return REDACTED;
  }

  [inspect.custom](): string {
    return REDACTED;
  }
}
