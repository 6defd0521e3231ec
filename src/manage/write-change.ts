import type { KeyRecord, KeyView } from "../keys/key.ts";
import { changeKey, type KeyChange } from "../postgres/keys.ts";
import { takeRevision } from "../postgres/revisions.ts";
import type { Database } from "../postgres/storage.ts";
import { viewSecrets } from "./view.ts";

/**
 * The last steps of every change to a key: the revision, then the key itself. Nothing is read in between, since every
 * other change waits for the revision's row until the commit.
 */
export async function writeChange(
  transaction: Database,
  held: { readonly key: KeyRecord; readonly now: Date },
  change: KeyChange,
): Promise<KeyView> {
  const secrets = await viewSecrets(transaction, held.key, held.now);
  const revision = await takeRevision(transaction);
  const key = await changeKey(transaction, held.key.id, { ...change, revision, updateTime: held.now });
  return { key, secrets, now: held.now };
}
