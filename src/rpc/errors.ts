import { Code, ConnectError } from "@connectrpc/connect";
import type { Logger } from "pino";
import { BadRequestSchema, QuotaFailureSchema } from "#gen/google/rpc/error_details_pb.js";
import { ClavigerError, type Reason } from "../keys/errors.ts";
import { redactSecrets } from "../keys/secret.ts";
import { explainedError, RETRY_DELAY_MS, shortenDescription, shortenField, shortenText } from "../wire/errors.ts";

const CODES: Readonly<Record<Reason, Code>> = {
  CREDENTIAL_MISSING: Code.Unauthenticated,
  CREDENTIAL_INVALID: Code.Unauthenticated,
  PERMISSION_DENIED: Code.PermissionDenied,
  SCOPE_NOT_GRANTABLE: Code.PermissionDenied,
  INVALID_FIELD: Code.InvalidArgument,
  PAGE_TOKEN_INVALID: Code.InvalidArgument,
  REQUEST_ID_REUSED: Code.InvalidArgument,
  KEY_NOT_FOUND: Code.NotFound,
  SECRET_VERSION_NOT_FOUND: Code.NotFound,
  REQUEST_ALREADY_DONE: Code.AlreadyExists,
  FEATURE_DISABLED: Code.FailedPrecondition,
  KEY_REVOKED: Code.FailedPrecondition,
  VERSION_LIMIT_REACHED: Code.FailedPrecondition,
  LIMITER_NOT_CONFIGURED: Code.FailedPrecondition,
  ETAG_MISMATCH: Code.Aborted,
  KEY_LIMIT_REACHED: Code.ResourceExhausted,
  CALLER_RATE_EXCEEDED: Code.ResourceExhausted,
  STORAGE_UNAVAILABLE: Code.Unavailable,
  OVERLOADED: Code.Unavailable,
  LEASE_UNAVAILABLE: Code.Unavailable,
  LIMITER_UNAVAILABLE: Code.Unavailable,
  REVOCATION_UNCONFIRMED: Code.Unavailable,
  INTERNAL: Code.Internal,
  NOT_IMPLEMENTED: Code.Unimplemented,
  DEADLINE_EXCEEDED: Code.DeadlineExceeded,
  MESSAGE_TOO_LARGE: Code.ResourceExhausted,
  ISSUER_UNAVAILABLE: Code.Unavailable,
  SHUTTING_DOWN: Code.Unavailable,
  STREAM_UNREAD: Code.ResourceExhausted,
};

/** Refusals whose cause the log has once for each outage, and not for each call. */
const LOGGED_AS_OUTAGES: ReadonlySet<Reason> = new Set([
  ...(["STORAGE_UNAVAILABLE", "ISSUER_UNAVAILABLE", "LIMITER_UNAVAILABLE"] as const),
]);

/**
 * The wire form of a refusal: its code, `ErrorInfo`, and the further details that apply. A message may quote the
 * request, and clients log errors. Therefore a secret that was pasted into the wrong field is redacted, and long texts
 * are cut.
 */
export function toConnectError(error: ClavigerError): ConnectError {
  const { reason, violations } = error;
  const message = shortenText(redactSecrets(error.message));
  const metadata = Object.fromEntries(
    Object.entries(error.metadata).map(([name, value]) => [name, shortenText(redactSecrets(value))]),
  );
  const code = CODES[reason];
  const retryAfterMs = error.retryAfterMs ?? (code === Code.Unavailable ? RETRY_DELAY_MS : undefined);
  const connectError = explainedError({ code, message, reason, metadata, retryAfterMs });
  if (violations.length > 0) {
    const fieldViolations = violations.map(({ field, description }) => ({
      field: shortenField(redactSecrets(field)),
      description: shortenDescription(redactSecrets(description)),
    }));
    connectError.details.push({ desc: BadRequestSchema, value: { fieldViolations } });
  }
  if (reason === "KEY_LIMIT_REACHED") {
    const violation = { subject: `owner:${metadata.owner ?? ""}`, description: message, quotaMetric: "keys" };
    connectError.details.push({ desc: QuotaFailureSchema, value: { violations: [violation] } });
  }
  return connectError;
}

/** Turns whatever was thrown into what leaves: what was not thrown on purpose is logged, and leaves as `INTERNAL`. */
export function presentError(error: unknown, log: Logger, requestId: string): ConnectError {
  if (error instanceof ConnectError) return error;
  if (error instanceof ClavigerError) {
    if (error.cause !== undefined) {
      const level = LOGGED_AS_OUTAGES.has(error.reason) ? "debug" : "warn";
      log[level]({ requestId, reason: error.reason, err: error.cause }, "could not decide");
    }
    return toConnectError(error);
  }
  log.error({ requestId, err: error }, "internal error");
  const message = `internal error. Report it with request id ${requestId}`;
  return toConnectError(new ClavigerError("INTERNAL", message, { metadata: { request_id: requestId } }));
}
