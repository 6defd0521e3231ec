import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import type { Verdict as VerdictName } from "../keys/lifecycle.ts";

/** The verdicts of the domain as enum values of `claviger.v1.Verdict`. */
export const VERDICTS: Readonly<Record<VerdictName, Verdict>> = {
  malformed: Verdict.MALFORMED,
  unknown: Verdict.UNKNOWN,
  revoked: Verdict.REVOKED,
  disabled: Verdict.DISABLED,
  retired: Verdict.RETIRED,
  expired: Verdict.EXPIRED,
  environment_denied: Verdict.ENVIRONMENT_DENIED,
  address_denied: Verdict.ADDRESS_DENIED,
  scope_missing: Verdict.SCOPE_MISSING,
  rate_limited: Verdict.RATE_LIMITED,
  quota_exhausted: Verdict.QUOTA_EXHAUSTED,
  valid: Verdict.VALID,
};

const NAMES = new Map(Object.entries(VERDICTS).map(([name, verdict]) => [verdict, name as VerdictName]));

/** The name of a verdict; undefined for one that this version does not know. */
export function verdictName(verdict: Verdict): VerdictName | undefined {
  return NAMES.get(verdict);
}
