import { errors } from "jose";
import { ClavigerError } from "../keys/errors.ts";

/** Why a token is not accepted, for programs. */
export type TokenRefusal =
  | "expired"
  | "not_yet_valid"
  | "signature"
  | "issuer"
  | "audience"
  | "algorithm"
  | "key_unknown"
  | "subject"
  | "too_large"
  | "malformed";

const WHY: Readonly<Record<TokenRefusal, string>> = {
  expired: "it has expired",
  not_yet_valid: "it is not valid yet",
  signature: "its signature is wrong",
  issuer: "its issuer is not one that is trusted here",
  audience: "it is for another audience",
  algorithm: "it is signed with an algorithm that its issuer is not trusted with",
  key_unknown: "its issuer has no such key",
  subject: "its subject cannot be an owner of keys",
  too_large: "it is larger than 16384 bytes",
  malformed: "it is not a signed JWT with an end (exp)",
};

const ADVICE: Partial<Readonly<Record<TokenRefusal, string>>> = {
  subject:
    "Have the issuer give a subject of 1 to 255 bytes without control characters, white space at its ends, or `claviger:` before it",
  too_large: "Have the issuer leave claims out that Claviger does not need, such as groups",
};

/** `CREDENTIAL_INVALID`. The message never contains the token's content. */
export function tokenRefused(cause: TokenRefusal): ClavigerError {
  return new ClavigerError(
    "CREDENTIAL_INVALID",
    `the token is not accepted: ${WHY[cause]}. ${ADVICE[cause] ?? "Get a new one from the issuer"}`,
    { metadata: { cause } },
  );
}

/** The cause that an error of jose implies for the token; undefined if the error is not about the token. */
export function refusalOf(error: unknown): TokenRefusal | undefined {
  if (error instanceof errors.JWTExpired) return "expired";
  if (error instanceof errors.JWTClaimValidationFailed) return CLAIMS[error.claim] ?? "malformed";
  if (error instanceof errors.JOSEAlgNotAllowed) return "algorithm";
  if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys) {
    return "key_unknown";
  }
  if (error instanceof errors.JWSSignatureVerificationFailed) return "signature";
  const isMalformed = [errors.JWSInvalid, errors.JWTInvalid, errors.JOSENotSupported].some(
    (kind) => error instanceof kind,
  );
  return isMalformed ? "malformed" : undefined;
}

const CLAIMS: Readonly<Record<string, TokenRefusal>> = {
  iss: "issuer",
  aud: "audience",
  sub: "subject",
  nbf: "not_yet_valid",
};
