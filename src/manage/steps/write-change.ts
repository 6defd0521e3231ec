import type { KeyRecord, KeyView } from "../../keys/key.ts";
import { changeKeys, type KeyChange } from "../../postgres/keys.ts";
import type { Database } from "../../postgres/storage.ts";
import type { DatabaseMoment } from "../../postgres/time.ts";
import type { CommitFacts } from "../../revocation/revocation-fallback.ts";
import { viewSecrets } from "./view.ts";

/** A change, and the part of it that all verifiers must obey before the answer. */
export interface Change {
  readonly change: KeyChange;
  /** Whether the change takes validity away now or soon. */
  readonly narrows: boolean;
}

/** A key after a change, and the database that the change was committed to. */
export interface Changed extends KeyView, DatabaseMoment, CommitFacts {}

/**
 * The last step of every change to a key. No other statement may follow: all other changes wait from here for the
 * commit.
 */
export async function writeChange(
  transaction: Database,
  held: DatabaseMoment & { readonly key: KeyRecord },
  { change, narrows }: Change,
): Promise<Changed> {
  const [secrets, [changed]] = await Promise.all([
    viewSecrets(transaction, held.key, held.now),
    changeKeys(transaction, { ids: [held.key.id], change, updateTime: held.now, narrows }),
  ]);
  if (changed === undefined) throw new Error(`key ${held.key.id} was held and is gone`);
  return { ...changed, secrets, now: held.now, identity: held.identity };
}
