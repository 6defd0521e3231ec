import { ClavigerError } from "../keys/errors.ts";
import type { KnownSecret } from "../keys/known-secret.ts";
import type { Decision } from "../verify/decide.ts";
import type { CallOrigin, ServiceCaller, UserCaller } from "./caller.ts";

/** A verification of a caller's own secret. */
export interface CredentialCheck {
  readonly decision: Decision;
  readonly found: Pick<KnownSecret, "keyId" | "version" | "owner" | "scopes" | "about"> | undefined;
}

export interface AuthenticateOptions {
  /** The `authorization` header, if there was one. */
  readonly authorization: string | null;
  readonly origin: CallOrigin;
  /** Verifies a secret; rejects if that cannot be decided. */
  readonly check: (secret: string, clientIp: string) => Promise<CredentialCheck>;
  /** Verifies a token of the platform's own authentication; undefined where no issuer is configured. */
  readonly users: ((token: string, origin: CallOrigin) => Promise<UserCaller>) | undefined;
  /** Told who it is as soon as that is known: also of a key that is genuine and no longer good. */
  readonly identify: (caller: ServiceCaller | UserCaller) => void;
}

/**
 * Finds out who calls, from `authorization: Bearer …`: a JWT has dots, a Claviger secret has none.
 *
 * @throws ClavigerError `CREDENTIAL_MISSING`, `CREDENTIAL_INVALID`, or what `check` and `users` reject with.
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

/** The Claviger secret of an `authorization` header; undefined if that holds none, but perhaps a token. */
export function secretOf(authorization: string | null): string | undefined {
  const credential = BEARER.exec(authorization ?? "")?.[1];
  return credential?.includes(".") ? undefined : credential;
}

/** No credential has a comma: a header that came twice, with different values, is their list (RFC 9110, 5.3). */
const BEARER = /^bearer +([^\s,]+) *$/i;

/**
 * The credential of an `authorization` header.
 *
 * @throws ClavigerError `CREDENTIAL_MISSING`, or `CREDENTIAL_INVALID` for several of which none can be meant alone.
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
