import type { Caller } from "../access/caller.ts";
import type { KeyView } from "../keys/key.ts";
import { findKey } from "../postgres/keys.ts";
import type { ManageDeps } from "./deps.ts";
import { keyNotFound, mayKnow } from "./lock.ts";
import { viewKeys } from "./view.ts";

/** Reads one key; `KEY_NOT_FOUND` if there is none. */
export function getKey(deps: ManageDeps, caller: Caller, keyId: string): Promise<KeyView> {
  return deps.storage.read(async (database) => {
    const key = await findKey(database, keyId);
    const [view] = key === undefined || !mayKnow(caller, key) ? [] : await viewKeys(database, [key]);
    if (view === undefined) throw keyNotFound(keyId);
    return view;
  });
}
