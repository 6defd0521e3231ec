import { ADMIN_OWNER } from "../access/permissions.ts";
import { ClavigerError } from "../keys/errors.ts";
import type { KeyRecord } from "../keys/key.ts";
import { countLiveKeys } from "../postgres/owners.ts";
import type { Database } from "../postgres/storage.ts";

/** Maximum of keys per owner that are neither revoked nor expired. */
export interface KeyLimits {
  readonly keysPerOwner: number;
  /** The limits of owners with a prefix, by prefix. The longest matching prefix applies. */
  readonly keysPerOwnerPrefix: Readonly<Record<string, number>>;
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
