import type { KeyRecord, SecretRecord } from "./key.ts";

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

export type KeyState = "active" | "disabled" | "expired" | "revoked";
export type SecretState = "current" | "retiring" | "retired" | "expired" | "revoked";

/** When a secret ends. */
type Ends = Pick<SecretRecord, "expireTime" | "retireTime">;

// Each comparison asks whether the end is in the future, so that an invalid date counts as expired.

/** Whether the secret was retired: ended, or rotated out with its grace period over. */
export function isRetired(secret: Ends, now: Date): boolean {
  return secret.retireTime !== null && !(secret.retireTime > now);
}

/** Whether the secret's own lifetime is over. */
export function isExpired(secret: Ends, now: Date): boolean {
  return !(secret.expireTime > now);
}

/** Whether the secret is accepted, given a key that is neither revoked nor disabled. */
export function isLive(secret: Ends, now: Date): boolean {
  return !isRetired(secret, now) && !isExpired(secret, now);
}

/** The first that applies of revoked, disabled, expired: the order of verdicts. */
export function keyState(key: KeyRecord, current: SecretRecord, now: Date): KeyState {
  if (key.revokeTime !== null) return "revoked";
  if (key.disabled) return "disabled";
  return isExpired(current, now) ? "expired" : "active";
}

/** A secret that ended before its key was revoked keeps its state. */
export function secretState(key: KeyRecord, secret: SecretRecord, now: Date): SecretState {
  const judged = key.revokeTime ?? now;
  if (isRetired(secret, judged)) return "retired";
  if (isExpired(secret, judged)) return "expired";
  if (key.revokeTime !== null) return "revoked";
  return secret.retireTime === null ? "current" : "retiring";
}

/** When the secret stops being accepted: the earlier of its expiry and its retirement. */
export function endOfSecret(secret: Ends): Date {
  const { expireTime, retireTime } = secret;
  return retireTime !== null && retireTime < expireTime ? retireTime : expireTime;
}
