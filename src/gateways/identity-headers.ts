import type { Metered } from "../usage/metered-verifier.ts";

/** The header for the client that says when its secret retires. */
export const RETIRES_HEADER = "claviger-secret-retires";

/** For no value: a header that an answer omits, or leaves empty, could be the client's own. */
const NONE = "-";

/**
 * The identity of a request for the service behind the gateway: always every header, never empty. Values are
 * percent-encoded except for visible ASCII without `%`, `"`, `,`, `;` and `\`; scopes are separated by spaces.
 */
export function identityHeaders(found?: Metered["found"]): readonly (readonly [string, string])[] {
  return [
    ["x-claviger-key-id", shown(found?.keyId)],
    ["x-claviger-owner", shown(found?.owner)],
    ["x-claviger-scopes", found?.scopes.map(shown).join(" ") || NONE],
    ["x-claviger-environment", shown(found?.environment)],
    ["x-claviger-secret-version", shown(found?.version.toString())],
  ];
}

function shown(text = ""): string {
  if (text === "") return NONE;
  if (text === NONE) return "%2D";
  return text.toWellFormed().replace(/[^!#$&-+\--:<-[\]-~]+/gu, percentEncoded);
}

function percentEncoded(text: string): string {
  return [...Buffer.from(text)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join("");
}
