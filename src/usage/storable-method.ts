import { redactSecrets } from "../keys/secret.ts";

/**
 * A method name that a table can store. Postgres text holds neither U+0000 nor a lone surrogate, and a batch with one
 * would never be stored. Secrets that were passed as a method by mistake are redacted.
 */
export function storableMethod(method: string): string {
  return redactSecrets(method.replaceAll("\0", "\u{fffd}").toWellFormed());
}
