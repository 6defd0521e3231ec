import { redactSecrets } from "../../keys/redact.ts";
import { Secret } from "../../keys/secret.ts";

/** The headers that a key is presented in, as they came: every value of each, in order. */
export interface CredentialHeaders {
  readonly authorization: readonly string[];
  readonly apiKey: readonly string[];
}

/** What a call presents. `conflict`: several different keys, of which nobody can say which is meant. */
export type Credential =
  | { readonly kind: "none" }
  | { readonly kind: "secret"; readonly secret: Secret }
  | { readonly kind: "conflict" };

/** The header names, lower-case: what a key is read from, and what is taken away before a handler sees the call. */
export const AUTHORIZATION = "authorization";
export const API_KEY = "x-api-key";

const BEARER = /^bearer(?:[ \t]+(.*))?$/i;
const OTHER_SCHEME = /^(?!bearer\b)[a-z0-9!#$%&'*+.^_`|~-]+[ \t]+\S/i;

/**
 * Reads the key from `authorization: Bearer <key>` (RFC 6750; the scheme in any case) or `x-api-key: <key>`. The same
 * key may stand in both. A header that is there and empty counts as absent, and so does `authorization` of another
 * scheme, which is somebody else's. Whether the key is any good is not looked at.
 *
 * @example readCredential({ authorization: ["Bearer clv_live_…"], apiKey: [] }) // { kind: "secret", secret: [redacted] }
 */
export function readCredential({ authorization, apiKey }: CredentialHeaders): Credential {
  const bearer = parts(authorization).map((part) => BEARER.exec(part)?.[1]?.trim());
  const presented = new Set([...bearer, ...parts(apiKey)].filter((text) => text !== undefined && text !== ""));
  const [text, ...others] = presented;
  if (text === undefined) return { kind: "none" };
  return others.length > 0 ? { kind: "conflict" } : { kind: "secret", secret: new Secret(text) };
}

/**
 * Whether `authorization` is left for the handler: only if all of it is of a scheme other than Bearer. A key that was
 * sent by mistake without a scheme, or under another, is taken away too.
 */
export function isLeftForHandler(authorization: readonly string[]): boolean {
  return authorization.every(
    (value) => OTHER_SCHEME.test(value.trim()) && !parts([value]).some(isBearer) && redactSecrets(value) === value,
  );
}

/** Headers that were sent twice come joined by commas from some servers; no key has a comma. */
function parts(values: readonly string[]): string[] {
  return values.flatMap((value) => value.split(",")).map((part) => part.trim());
}

function isBearer(part: string): boolean {
  return BEARER.test(part);
}
