import { redactSecrets } from "../keys/redact.ts";

/**
 * A method as a table may have it. Postgres has neither U+0000 nor half a surrogate pair in its text, and a batch that
 * holds one would never be taken; and a secret that was put there by mistake must not get there.
 */
export function storableMethod(method: string): string {
  return redactSecrets(method.replaceAll("\0", "\u{fffd}").toWellFormed());
}
