/**
 * Why a call was refused or failed: the names of `claviger.v1.ErrorReason` without their prefix. The enum documents the
 * cause of each, its gRPC code, whether to retry and what to do.
 */
export type Reason =
  | "CREDENTIAL_MISSING"
  | "CREDENTIAL_INVALID"
  | "PERMISSION_DENIED"
  | "SCOPE_NOT_GRANTABLE"
  | "INVALID_FIELD"
  | "PAGE_TOKEN_INVALID"
  | "REQUEST_ID_REUSED"
  | "KEY_NOT_FOUND"
  | "SECRET_VERSION_NOT_FOUND"
  | "REQUEST_ALREADY_DONE"
  | "FEATURE_DISABLED"
  | "KEY_REVOKED"
  | "VERSION_LIMIT_REACHED"
  | "LIMITER_NOT_CONFIGURED"
  | "ETAG_MISMATCH"
  | "KEY_LIMIT_REACHED"
  | "CALLER_RATE_EXCEEDED"
  | "STORAGE_UNAVAILABLE"
  | "OVERLOADED"
  | "LEASE_UNAVAILABLE"
  | "LIMITER_UNAVAILABLE"
  | "REVOCATION_UNCONFIRMED"
  | "INTERNAL"
  | "NOT_IMPLEMENTED"
  | "DEADLINE_EXCEEDED"
  | "MESSAGE_TOO_LARGE"
  | "ISSUER_UNAVAILABLE"
  | "SHUTTING_DOWN"
  | "STREAM_UNREAD";

/** A request field that breaks its rule, by its path in the request message (`key.scopes[0]`). */
export interface FieldViolation {
  readonly field: string;
  readonly description: string;
}

export interface ClavigerErrorOptions {
  /** Every variable part of the message, for programs. Never a secret. */
  readonly metadata?: Readonly<Record<string, string>>;
  readonly violations?: readonly FieldViolation[];
  readonly cause?: unknown;
  /** When to retry, in milliseconds, if that is known. */
  readonly retryAfterMs?: number;
}

/** A refusal or failure that the caller receives. Its message ends with what to do. */
export class ClavigerError extends Error {
  override readonly name = "ClavigerError";
  readonly reason: Reason;
  readonly metadata: Readonly<Record<string, string>>;
  readonly violations: readonly FieldViolation[];
  readonly retryAfterMs: number | undefined;

  constructor(reason: Reason, message: string, options: ClavigerErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.reason = reason;
    this.metadata = options.metadata ?? {};
    this.violations = options.violations ?? [];
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** `INVALID_FIELD` about one field. */
export function invalidField(field: string, description: string): ClavigerError {
  return invalidFields([{ field, description }]);
}

/** `INVALID_FIELD` about one or more fields. */
export function invalidFields(violations: readonly FieldViolation[]): ClavigerError {
  const list = violations.map((violation) => `${violation.field}: ${violation.description}`).join("; ");
  return new ClavigerError("INVALID_FIELD", `invalid request: ${list}. Correct it and send it again`, {
    metadata: { fields: violations.map((violation) => violation.field).join(",") },
    violations,
  });
}

/** The message of a thrown value, which may be no `Error`. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
