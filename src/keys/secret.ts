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

const SECRET = /_(live|test)_[0-9A-Za-z]{20,}/g;

/** Replaces every text that looks like a secret, of any brand: people paste secrets into other fields. */
export function redactSecrets(text: string): string {
  return text.replaceAll(SECRET, "_$1_[redacted]");
}

/** Whether `redactSecrets` would replace a part of the text. */
export function looksLikeSecret(text: string): boolean {
  return text.search(SECRET) !== -1;
}

/** A path in the form that a message may show. A secret in place of a path is left out. */
export function shownPath(path: string): string {
  const isEncoded = /^[\w+/,=-]{40,}$/.test(path) && (/[+,=]/.test(path) || !/^[/~]/.test(path));
  const isSecret = looksLikeSecret(path) || path.includes("://") || path.startsWith("eyJ") || isEncoded;
  return isSecret ? "something that does not look like a path" : path;
}
