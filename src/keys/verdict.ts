/** The outcome of a verification; `claviger.v1.Verdict` says when each applies. */
export type Verdict =
  | "malformed"
  | "unknown"
  | "revoked"
  | "disabled"
  | "retired"
  | "expired"
  | "environment_denied"
  | "address_denied"
  | "scope_missing"
  | "rate_limited"
  | "quota_exhausted"
  | "valid";
