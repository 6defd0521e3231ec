import type { CachedSecret, FoundSecret } from "../keys/cached-secret.ts";
import { isAddressAllowed } from "../keys/cidrs.ts";
import type { Environment } from "../keys/key.ts";
import { isExpired, isRetired, type Verdict } from "../keys/lifecycle.ts";
import { missingScopes } from "../keys/scopes.ts";

export type { Verdict };

/** The conditions that a secret must meet for one request. */
export interface Question {
  /** The secret must hold all of these. */
  readonly requiredScopes: readonly string[];
  /** IPv4 or IPv6 address of the client that presented the secret; empty if it is not known. */
  readonly clientIp: string;
  /** The environment that the key must belong to. Default: either. */
  readonly environment?: Environment | undefined;
}

export interface Decision {
  readonly verdict: Verdict;
  /** Set with `scope_missing`. */
  readonly missingScopes: readonly string[];
}

/** The part of a secret that a decision uses. */
type Decidable = Pick<CachedSecret, "standing" | "environment" | "allowedCidrs" | "scopes">;

const NOTHING_MISSING: readonly string[] = Object.freeze([]);
const VALID: Decision = Object.freeze({ verdict: "valid", missingScopes: NOTHING_MISSING });

/**
 * The verdict about a genuine secret as of `now`, for any question: the first that applies in the order of the
 * contract.
 */
export function standingOf({ key, secret, now }: Omit<FoundSecret, "revision">): Verdict {
  if (key.revokeTime !== null) return "revoked";
  if (key.disabled) return "disabled";
  if (isRetired(secret, now)) return "retired";
  return isExpired(secret, now) ? "expired" : "valid";
}

/** Decides about a genuine secret: the first verdict that applies in the order of the contract. */
export function decide(known: Decidable, question: Question): Decision {
  const { standing, environment, allowedCidrs, scopes } = known;
  if (standing !== "valid") return because(standing);
  if (question.environment !== undefined && question.environment !== environment) return because("environment_denied");
  if (allowedCidrs.length > 0 && !isAddressAllowed(question.clientIp, allowedCidrs)) return because("address_denied");
  if (question.requiredScopes.length === 0) return VALID;
  const missing = missingScopes(scopes, question.requiredScopes);
  return missing.length > 0 ? { verdict: "scope_missing", missingScopes: missing } : VALID;
}

function because(verdict: Verdict): Decision {
  return { verdict, missingScopes: NOTHING_MISSING };
}
