import { inspect } from "node:util";

const REDACTED = "[redacted]";

/**
 * A secret that cannot be logged, serialised or concatenated by accident: every way of turning it into text but
 * `reveal()` gives `[redacted]`.
 */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** The secret itself. Call it only where the secret leaves for the one place that it is meant for. */
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
