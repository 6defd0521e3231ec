import type { KeyRecord, KeyView } from "../keys/key.ts";
import { changeKeys, type KeyChange } from "../postgres/keys.ts";
import type { Database } from "../postgres/storage.ts";
import type { DatabaseMoment } from "../postgres/time.ts";
import { viewSecrets } from "./view.ts";

/** A change, and what of it everybody must obey before it is answered. */
export interface Change {
  readonly change: KeyChange;
  /** Whether it takes validity away now or soon. */
  readonly narrows: boolean;
}

/** A key after a change, in which database, and the marker of the revocation set that is valid for it. */
export interface Changed extends KeyView, DatabaseMoment {
  readonly setMarker: string;
}

/** The last step of every change to a key. Nothing comes after: every other change waits for the commit from here. */
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
