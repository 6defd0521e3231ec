import { ADMIN_OWNER } from "../access/permissions.ts";
import { ClavigerError } from "../keys/errors.ts";
import type { KeyRecord } from "../keys/key.ts";
import { countLiveKeys } from "../postgres/owners.ts";
import type { Database } from "../postgres/storage.ts";

/** `KEY_LIMIT_REACHED` unless the owner, whose row the transaction holds, has a place for the key among the others. */
export async function requirePlace(
  transaction: Database,
  { id, owner }: Pick<KeyRecord, "id" | "owner">,
  limit: number,
): Promise<void> {
  if (owner === ADMIN_OWNER) return;
  const keys = await countLiveKeys(transaction, owner, id);
  if (keys < limit) return;
  throw new ClavigerError(
    "KEY_LIMIT_REACHED",
    `${owner} has ${keys} keys that are neither revoked nor expired, of ${limit} allowed. Revoke one first, or raise keysPerOwner in CLAVIGER_POLICY on every server`,
    { metadata: { owner, limit: String(limit), keys: String(keys) } },
  );
}
