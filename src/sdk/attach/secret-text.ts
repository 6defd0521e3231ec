import { Secret } from "../../keys/secret.ts";

/**
 * The secret that a text holds, without the white space around it; undefined if it can be none. What can be no header is
 * refused here because the error of Node or of a client library would repeat it.
 */
export function readSecretText(text: string): Secret | undefined {
  const trimmed = text.trim();
  return /^[\x21-\x7e]+$/.test(trimmed) ? new Secret(trimmed) : undefined;
}
