import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { Environment } from "#gen/claviger/v1/key_pb.js";
import { Verdict, VerdictSchema, type VerifiedKey } from "#gen/claviger/v1/key_verifier_pb.js";
import { ErrorInfoSchema, RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import type { Reason } from "../keys/errors.ts";
import { RETRY_DELAY_MS } from "./errors.ts";

/** Names of `claviger.v1.ErrorReason` that only protected services use, and not the server. */
const OWN_REASONS = ["RATE_LIMITED", "QUOTA_EXHAUSTED", "SERVER_UNREACHABLE", "VERIFIER_MISCONFIGURED"] as const;

/** The reason why a call is not let in, for every protocol. Contains nothing of the secret. */
export interface Refusal {
  readonly code: Code;
  /** `reason` of `google.rpc.ErrorInfo`: a name of `claviger.v1.ErrorReason`. */
  readonly reason: Reason | (typeof OWN_REASONS)[number];
  /** Ends with what to do. */
  readonly message: string;
  /** Every variable part of the message, and as `verdict` the name of the verdict without its prefix, if there was one. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Milliseconds after which to try again; undefined if that is not known or does not help. */
  readonly retryAfterMs?: number | undefined;
  /** The failure, for the service's own log; never sent. */
  readonly cause?: unknown;
}

/** Messages for verdicts against the secret itself. Each ends with an action for its holder. */
const INVALID: Readonly<Partial<Record<Verdict, string>>> = {
  [Verdict.MALFORMED]: "the credential is not a key; it may be mistyped or cut off. Copy it again",
  [Verdict.UNKNOWN]: "the key is unknown. Call with a key that was created on this server",
  [Verdict.REVOKED]: "the key was revoked. Call with another key",
  [Verdict.DISABLED]: "the key is disabled. Have its owner enable it, or call with another key",
  [Verdict.RETIRED]: "the secret has been replaced by a rotation. Call with the key's new secret",
  [Verdict.EXPIRED]: "the secret has expired. Rotate the key and call with the new secret",
};

/** Reasons of `UNAVAILABLE` that callers get. Other reasons of the verifier are about its own connection. */
const SHARED_REASONS = [
  ...(["STORAGE_UNAVAILABLE", "OVERLOADED", "LEASE_UNAVAILABLE", "LIMITER_UNAVAILABLE", "SHUTTING_DOWN"] as const),
  "SERVER_UNREACHABLE",
] as const;

export const CREDENTIAL_MISSING: Refusal = {
  code: Code.Unauthenticated,
  reason: "CREDENTIAL_MISSING",
  message: "the call has no key. Send `authorization: Bearer <key>` or `x-api-key: <key>`",
  metadata: {},
};

export const CREDENTIALS_CONFLICT: Refusal = {
  code: Code.Unauthenticated,
  reason: "CREDENTIAL_INVALID",
  message: "`authorization` and `x-api-key` have different keys. Send one key",
  metadata: { headers: "authorization,x-api-key" },
};

/** For a credential that is longer than any secret. */
export const CREDENTIAL_TOO_LONG: Refusal = {
  code: Code.Unauthenticated,
  reason: "CREDENTIAL_INVALID",
  message: INVALID[Verdict.MALFORMED] ?? "",
  metadata: { verdict: "MALFORMED" },
};

/** The facts of a verification that its refusal tells. */
export interface Refusable {
  readonly verdict: Verdict;
  readonly key: Pick<VerifiedKey, "environment"> | undefined;
  readonly missingScopes: readonly string[];
  readonly retryAfterMs: number | undefined;
}

/** The refusal for a verdict; undefined if the verdict lets the call in. */
export function refusalOf({ verdict, key, missingScopes, retryAfterMs }: Refusable): Refusal | undefined {
  if (verdict === Verdict.VALID) return undefined;
  const name = VerdictSchema.value[verdict]?.localName ?? String(verdict);
  const metadata = { verdict: name };
  const message = INVALID[verdict];
  if (message !== undefined) return { code: Code.Unauthenticated, reason: "CREDENTIAL_INVALID", message, metadata };
  switch (verdict) {
    case Verdict.ENVIRONMENT_DENIED: {
      const [is, wanted] = key?.environment === Environment.TEST ? ["test", "live"] : ["live", "test"];
      const text =
        `the key is a ${is} key, and only ${wanted} keys are let in. Call with a ${wanted} key; the service lets ${is} ` +
        "keys in by the option environment of requireKey";
      return denied(text, { ...metadata, environment: is });
    }
    case Verdict.ADDRESS_DENIED:
      return denied("the key may not be used from this address. Call from one that it allows", metadata);
    case Verdict.SCOPE_MISSING:
      return denied(`the key lacks ${missingScopes.join(", ")}. Call with a key that has it`, {
        ...metadata,
        missing_scopes: missingScopes.join(","),
      });
    case Verdict.RATE_LIMITED: {
      const text = "the key's limit of requests per second is reached. Retry more slowly";
      return { code: Code.ResourceExhausted, reason: "RATE_LIMITED", message: text, metadata, retryAfterMs };
    }
    case Verdict.QUOTA_EXHAUSTED: {
      const text = "the key's requests of this day (UTC) are used up. Retry tomorrow, or have its limit raised";
      return { code: Code.ResourceExhausted, reason: "QUOTA_EXHAUSTED", message: text, metadata, retryAfterMs };
    }
    default:
      return internalError(new Error(`the verdict ${name} is unknown to this version. Update claviger`));
  }
}

function denied(message: string, metadata: Refusal["metadata"]): Refusal {
  return { code: Code.PermissionDenied, reason: "PERMISSION_DENIED", message, metadata };
}

/**
 * The refusal when the verifier failed. `UNAVAILABLE`, also when the verifier's own token is refused: that is not the
 * caller's fault and says nothing about the caller's key (docs/protocol/revocation.md#p2), but a retry does not help. A
 * wrong question is a defect: `INTERNAL`.
 */
export function refusalOfError(error: unknown): Refusal {
  if (!(error instanceof ConnectError) || error.code === Code.InvalidArgument) return internalError(error);
  const reason = error.findDetails(ErrorInfoSchema)[0]?.reason;
  if (
    reason === "VERIFIER_MISCONFIGURED" ||
    error.code === Code.Unauthenticated ||
    error.code === Code.PermissionDenied
  ) {
    return {
      code: Code.Unavailable,
      reason: "VERIFIER_MISCONFIGURED",
      message:
        "this service cannot check keys until its set-up is corrected, which says nothing about the key. " +
        "Report it to the operator of the service",
      metadata: {},
      cause: error,
    };
  }
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  return {
    code: Code.Unavailable,
    reason:
      // The service stops; another instance of it may answer.
      reason === "VERIFIER_CLOSED"
        ? "SHUTTING_DOWN"
        : (SHARED_REASONS.find((known) => known === reason) ?? "SERVER_UNREACHABLE"),
    message: "the key could not be checked, which says nothing about it. Retry shortly",
    metadata: {},
    retryAfterMs: delay === undefined ? RETRY_DELAY_MS : durationMs(delay),
    cause: error,
  };
}

/** A defect of the service or of its configuration. */
export function internalError(cause: unknown): Refusal {
  const message = "the service failed to check the key. Report it to the operator of the service";
  return { code: Code.Internal, reason: "INTERNAL", message, metadata: {}, cause };
}
