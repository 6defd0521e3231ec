/** The outcomes of a verification, in the order in which they are decided; `claviger.v1.Verdict` describes each. */
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

/** The outcome of a verification. */
export type Verdict = (typeof VERDICTS)[number];
