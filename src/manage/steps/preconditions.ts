import { ADMIN_OWNER } from "../../access/permissions.ts";
import { ClavigerError, invalidField } from "../../keys/errors.ts";
import { etagOf, type KeyRecord } from "../../keys/key.ts";
import { countLiveKeys } from "../../postgres/owners.ts";
import type { Database } from "../../postgres/storage.ts";
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../../system/clocks.ts";
import type { KeyLimits, ManageDeps } from "../deps.ts";

/** `KEY_REVOKED` for a revoked key. */
export function requireUnrevoked(key: KeyRecord): void {
  if (key.revokeTime === null) return;
  throw new ClavigerError("KEY_REVOKED", `key ${key.id} is revoked, for good. Create a new key`, {
    metadata: { key_id: key.id },
  });
}

/** `ETAG_MISMATCH` if the caller has seen another state of the key. An empty `etag` accepts any state. */
export function requireEtag(key: KeyRecord, etag: string): void {
  if (etag === "" || etag === etagOf(key)) return;
  throw new ClavigerError("ETAG_MISMATCH", `key ${key.id} has changed since it was read. Read it again, then retry`, {
    metadata: { key_id: key.id, etag: etagOf(key) },
  });
}

/** `LIMITER_NOT_CONFIGURED` if no limiter counts for every node. */
export function requireLimiter({ canLimit }: Pick<ManageDeps, "canLimit">): void {
  if (canLimit) return;
  throw new ClavigerError(
    "LIMITER_NOT_CONFIGURED",
    "limits need Redis, which every node can count in. Set REDIS_URL on the servers, or leave limits out",
  );
}

/** The limit of an owner. */
export function keyLimitOf(owner: string, { keysPerOwner, keysPerOwnerPrefix }: KeyLimits): number {
  const [longest] = Object.keys(keysPerOwnerPrefix)
    .filter((prefix) => owner.startsWith(prefix))
    .sort((one, other) => other.length - one.length);
  return longest === undefined ? keysPerOwner : (keysPerOwnerPrefix[longest] ?? keysPerOwner);
}

/** `KEY_LIMIT_REACHED` unless the owner, whose row the transaction has locked, has room for the key. */
export async function requirePlace(
  transaction: Database,
  { id, owner }: Pick<KeyRecord, "id" | "owner">,
  policy: KeyLimits,
): Promise<void> {
  if (owner === ADMIN_OWNER) return;
  const limit = keyLimitOf(owner, policy);
  const keys = await countLiveKeys(transaction, owner, id);
  if (keys < limit) return;
  throw new ClavigerError(
    "KEY_LIMIT_REACHED",
    `${owner} has ${keys} keys that are neither revoked nor expired, of ${limit} allowed. Revoke one first, or raise manage.keysPerOwner or manage.keysPerOwnerPrefix in CLAVIGER_POLICY on every server`,
    { metadata: { owner, limit: String(limit), keys: String(keys) } },
  );
}

/** The requested duration, or the default; `INVALID_FIELD` if the policy does not allow it. In milliseconds. */
export function chooseSpan(
  field: string,
  asked: number | undefined,
  policy: { readonly default: number; readonly max: number },
): number {
  if (asked === undefined) return policy.default;
  if (asked > policy.max) throw invalidField(field, `must be at most ${describeSpan(policy.max)}`);
  return asked;
}

const UNITS = [
  ["day", DAY_MS],
  ["hour", HOUR_MS],
  ["minute", MINUTE_MS],
  ["second", 1000],
] as const;

/** Formats milliseconds in the largest unit that divides them: `90 days`, `24 hours`. */
function describeSpan(ms: number): string {
  const [unit, unitMs] = UNITS.find(([name, each]) => ms % each === 0 && (name !== "day" || ms > each)) ?? ["ms", 1];
  const count = ms / unitMs;
  return `${count} ${unit}${count === 1 || unit === "ms" ? "" : "s"}`;
}

/** `time` + `spanMs`. */
export function after(time: Date, spanMs: number): Date {
  return new Date(time.getTime() + spanMs);
}
