import type { KeyRecord, KeyView } from "../keys/key.ts";
import { changeKeys, type KeyChange } from "../postgres/keys.ts";
import type { Database } from "../postgres/storage.ts";
import { viewSecrets } from "./view.ts";

/** A change, and what of it everybody must obey before it is answered. */
export interface Change {
  readonly change: KeyChange;
  /** Whether it takes validity away now or soon. */
  readonly narrows: boolean;
}

/** The last step of every change to a key. Nothing comes after: every other change waits for the commit from here. */
export async function writeChange(
  transaction: Database,
  held: { readonly key: KeyRecord; readonly now: Date },
  { change, narrows }: Change,
): Promise<KeyView> {
  const secrets = await viewSecrets(transaction, held.key, held.now);
  const [key] = await changeKeys(transaction, { ids: [held.key.id], change, updateTime: held.now, narrows });
  if (key === undefined) throw new Error(`key ${held.key.id} was held and is gone`);
  return { key, secrets, now: held.now };
}
