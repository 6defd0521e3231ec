import { redactSecrets } from "../keys/redact.ts";

/** A method as a table may have it: Postgres has no U+0000 in its text, and a secret that was put there by mistake must not get there. */
export function storableMethod(method: string): string {
  return redactSecrets(method.replaceAll("\0", "\u{fffd}"));
}
