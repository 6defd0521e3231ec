import type { CachedSecret } from "../keys/cached-secret.ts";
import { ClavigerError } from "../keys/errors.ts";
import type { Decision } from "../verify/decide.ts";
import type { CallOrigin, ServiceCaller, UserCaller } from "./caller.ts";

/** A verification of the caller's own secret. */
export interface CredentialCheck {
  readonly decision: Decision;
  readonly found: Pick<CachedSecret, "keyId" | "version" | "owner" | "scopes" | "about"> | undefined;
}

export interface AuthenticateOptions {
  /** The value of the `authorization` header, if the call has one. */
  readonly authorization: string | null;
  readonly origin: CallOrigin;
  /** Verifies a secret; rejects if that cannot be decided. */
  readonly check: (secret: string, clientIp: string) => Promise<CredentialCheck>;
  /** Verifies a token of the platform's own authentication; undefined without a configured issuer. */
  readonly users: ((token: string, origin: CallOrigin) => Promise<UserCaller>) | undefined;
  /** Called as soon as the caller is known, also for a genuine key that is no longer valid. */
  readonly identify: (caller: ServiceCaller | UserCaller) => void;
}

/**
 * Identifies the caller from `authorization: Bearer …`. A JWT contains dots; a Claviger secret does not.
 *
 * @throws ClavigerError `CREDENTIAL_MISSING`, `CREDENTIAL_INVALID`, or the errors of `check` and `users`.
 */
export async function authenticate(options: AuthenticateOptions): Promise<void> {
  const { origin } = options;
  const credential = bearerToken(options.authorization);
  if (credential.includes(".") && options.users !== undefined)
    return options.identify(await options.users(credential, origin));
  const { decision, found } = await options.check(credential, origin.address);
  if (found !== undefined) {
    const { keyId, version, owner, scopes, about } = found;
    options.identify({ kind: "service", keyId, version, owner, scopes, about, ...origin });
  }
  if (decision.verdict !== "valid") throw credentialInvalid(decision.verdict);
}

/** `CREDENTIAL_INVALID`, with the verdict that says why. */
export function credentialInvalid(verdict: string): ClavigerError {
  return new ClavigerError(
    "CREDENTIAL_INVALID",
    `the calling key is not accepted: ${verdict}. Call with a key that is valid`,
    { metadata: { verdict: verdict.toUpperCase() } },
  );
}

function severalCredentials(): ClavigerError {
  return new ClavigerError(
    "CREDENTIAL_INVALID",
    "the call has several different `authorization` values. Send one `authorization` header with one credential",
  );
}

/** The Claviger secret of an `authorization` header; undefined without one. The header may then hold a token. */
export function secretOf(authorization: string | null): string | undefined {
  const credential = BEARER.exec(authorization ?? "")?.[1];
  return credential?.includes(".") ? undefined : credential;
}

/**
 * No credential contains a comma. Several headers with different values arrive as a list with commas (RFC 9110, 5.3).
 */
const BEARER = /^bearer +([^\s,]+) *$/i;

/**
 * The credential of an `authorization` header.
 *
 * @throws ClavigerError `CREDENTIAL_MISSING`, or `CREDENTIAL_INVALID` for several different credentials.
 */
export function bearerToken(authorization: string | null): string {
  const values = new Set((authorization ?? "").split(",").map((value) => value.trim()));
  if (values.size > 1) throw severalCredentials();
  const [value = ""] = values;
  const credential = BEARER.exec(value)?.[1];
  if (credential !== undefined) return credential;
  throw new ClavigerError(
    "CREDENTIAL_MISSING",
    "no credential. Send the header `authorization: Bearer <key>` with a key that has the scope for this method",
  );
}
