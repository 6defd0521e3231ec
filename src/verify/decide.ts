import { isAddressAllowed } from "../keys/cidrs.ts";
import type { FoundSecret } from "../keys/found-secret.ts";
import { missingScopes } from "../keys/scopes.ts";
import { isExpired, isRetired } from "../keys/state.ts";
import type { Verdict } from "../keys/verdict.ts";

export type { Verdict };

/** What is asked about a secret. */
export interface Question {
  /** All must be held. */
  readonly requiredScopes: readonly string[];
  /** IPv4 or IPv6 address of whoever presented the secret; empty if not known. */
  readonly clientIp: string;
}

export interface Decision {
  readonly verdict: Verdict;
  /** Set with `scope_missing`. */
  readonly missingScopes: readonly string[];
}

/** Decides about a genuine secret as of `now`: the first verdict that applies, in the order of the contract. */
export function decide({ key, secret, now }: Omit<FoundSecret, "revision">, question: Question): Decision {
  if (key.revokeTime !== null) return because("revoked");
  if (key.disabled) return because("disabled");
  if (isRetired(secret, now)) return because("retired");
  if (isExpired(secret, now)) return because("expired");
  if (key.allowedCidrs.length > 0 && !isAddressAllowed(question.clientIp, key.allowedCidrs)) {
    return because("address_denied");
  }
  const missing = missingScopes(key.scopes, question.requiredScopes);
  return missing.length > 0 ? { verdict: "scope_missing", missingScopes: missing } : because("valid");
}

function because(verdict: Verdict): Decision {
  return { verdict, missingScopes: [] };
}
