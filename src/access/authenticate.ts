import { ClavigerError } from "../keys/errors.ts";
import type { KeyRecord, SecretRecord } from "../keys/key.ts";
import type { Decision } from "../verify/decide.ts";
import type { ServiceCaller } from "./caller.ts";

/** A verification of a caller's own secret. */
export interface CredentialCheck {
  readonly decision: Decision;
  readonly found: { readonly key: KeyRecord; readonly secret: SecretRecord } | undefined;
}

export interface AuthenticateOptions {
  /** The `authorization` header, if there was one. */
  readonly authorization: string | null;
  /** Network address of the call. */
  readonly address: string;
  /** Verifies a secret; rejects if that cannot be decided. */
  readonly check: (secret: string, clientIp: string) => Promise<CredentialCheck>;
}

/**
 * Who calls, from `authorization: Bearer <claviger secret>`. A JWT of the platform's own authentication is told apart
 * here by its dots, once users can call.
 *
 * @throws ClavigerError `CREDENTIAL_MISSING`, `CREDENTIAL_INVALID`, or what `check` rejects with.
 */
export async function authenticate(options: AuthenticateOptions): Promise<ServiceCaller> {
  const credential = bearerToken(options.authorization);
  const { decision, found } = await options.check(credential, options.address);
  if (decision.verdict !== "valid" || found === undefined) throw credentialInvalid(decision.verdict);
  const { key, secret } = found;
  return {
    kind: "service",
    keyId: key.id,
    version: secret.version,
    owner: key.owner,
    scopes: key.scopes,
    address: options.address,
  };
}

/** `CREDENTIAL_INVALID`, with the verdict that says why. */
export function credentialInvalid(verdict: string): ClavigerError {
  return new ClavigerError(
    "CREDENTIAL_INVALID",
    `the calling key is not accepted: ${verdict}. Call with a key that is valid`,
    { metadata: { verdict: verdict.toUpperCase() } },
  );
}

function bearerToken(authorization: string | null): string {
  const match = /^bearer +(\S+) *$/i.exec(authorization ?? "");
  if (match?.[1] !== undefined) return match[1];
  throw new ClavigerError(
    "CREDENTIAL_MISSING",
    "no credential. Send the header `authorization: Bearer <key>` with a key that has the scope for this method",
  );
}
