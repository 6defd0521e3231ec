import { redactSecrets, Secret } from "../keys/secret.ts";

/** The received headers that may contain a key: every value of each, in order. */
export interface CredentialHeaders {
  readonly authorization: readonly string[];
  readonly apiKey: readonly string[];
}

/** The key that a call presents. `conflict`: several different keys, so that it is not clear which one is meant. */
export type Credential =
  | { readonly kind: "none" }
  | { readonly kind: "secret"; readonly secret: Secret }
  | { readonly kind: "conflict" };

/** The headers from which a key is read, and which are removed before a handler gets the call. Lower-case names. */
export const AUTHORIZATION = "authorization";
export const API_KEY = "x-api-key";

const BEARER = /^bearer(?:[ \t]+(.*))?$/i;
const OTHER_SCHEME = /^(?!bearer\b)[a-z0-9!#$%&'*+.^_`|~-]+[ \t]+\S/i;

/**
 * Reads the key from `authorization: Bearer <key>` (RFC 6750; the scheme in any case) or `x-api-key: <key>`. Both may have
 * the same key. An empty header counts as absent, and so does `authorization` of another scheme, which belongs to the
 * application. The key is not verified here.
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
 * Whether `authorization` is left for the handler: only if all of it has a scheme other than Bearer. A key that was sent
 * by mistake without a scheme, or under another, is removed too.
 */
export function isLeftForHandler(authorization: readonly string[]): boolean {
  return authorization.every(
    (value) => OTHER_SCHEME.test(value.trim()) && !parts([value]).some(isBearer) && redactSecrets(value) === value,
  );
}

/** The headers of one call, by lower-case names. */
export interface TakenHeaders {
  /** Every value of the header, in order. */
  valuesOf(name: string): readonly string[];
  remove(name: string): void;
}

/** Reads the key of a call and removes it from the headers, so that no handler or log gets it. */
export function takeCredential(headers: TakenHeaders): Credential {
  const authorization = headers.valuesOf(AUTHORIZATION);
  const credential = readCredential({ authorization, apiKey: headers.valuesOf(API_KEY) });
  if (!isLeftForHandler(authorization)) headers.remove(AUTHORIZATION);
  headers.remove(API_KEY);
  return credential;
}

/** Some servers join a header that was sent twice by a comma; no key has a comma. */
function parts(values: readonly string[]): string[] {
  return values.flatMap((value) => value.split(",")).map((part) => part.trim());
}

function isBearer(part: string): boolean {
  return BEARER.test(part);
}
