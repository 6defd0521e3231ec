/** The outcomes of a verification, in order of precedence. `claviger.v1.Verdict` describes each. */
export const VERDICTS = [
  "malformed",
  "unknown",
  "revoked",
  "disabled",
  "retired",
  "expired",
  "environment_denied",
  "address_denied",
  "scope_missing",
  "rate_limited",
  "quota_exhausted",
  "valid",
] as const;

export type Verdict = (typeof VERDICTS)[number];
