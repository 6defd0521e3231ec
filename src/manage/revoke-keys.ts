import { actorOf, type Caller } from "../access/caller.ts";
import type { Actor } from "../keys/key.ts";
import { changeKeys, countUnrevoked, type KeyFilter, lockUnrevoked } from "../postgres/keys.ts";
import { lockOwner } from "../postgres/owners.ts";
import { readRevision, takeRevision } from "../postgres/revisions.ts";
import { readDatabaseTime } from "../postgres/time.ts";
import type { ManageDeps } from "./deps.ts";
import { lockCaller } from "./lock.ts";
import { type Receipt, uncachedReceipt } from "./receipt.ts";
import type { Revocation } from "./revoke-key.ts";

export interface RevokeKeys extends Revocation {
  /** At least one of owner and labels is set. */
  readonly filter: Pick<KeyFilter, "owner" | "labels">;
  /** Count only. */
  readonly validateOnly: boolean;
}

interface Batch {
  readonly ids: readonly string[];
  readonly receipt: Receipt;
}

/**
 * Revokes every key of the filter, a bounded number per transaction, until one finds none left. Each holds the owner
 * first, so that a creation in flight is either seen or comes after.
 */
export async function revokeKeys(
  deps: ManageDeps,
  caller: Caller,
  command: RevokeKeys,
): Promise<{ readonly keyCount: number; readonly receipt: Receipt | undefined }> {
  const { filter } = command;
  if (command.validateOnly) {
    const keyCount = await deps.storage.read((database) => countUnrevoked(database, filter));
    return { keyCount, receipt: undefined };
  }
  await deps.storage.transaction((transaction) => lockCaller(transaction, caller, "claviger:keys.revoke"));
  let keyCount = 0;
  for (;;) {
    const { ids, receipt } = await revokeBatch(deps, actorOf(caller), command);
    if (ids.length === 0) return { keyCount, receipt };
    keyCount += ids.length;
  }
}

/** Authority was judged before the first batch: a caller whose own key is among those revoked still finishes. */
async function revokeBatch(deps: ManageDeps, actor: Actor, command: RevokeKeys): Promise<Batch> {
  const { filter, reason, note } = command;
  const batch = await deps.storage.transaction(async (transaction) => {
    if (filter.owner !== undefined) await lockOwner(transaction, filter.owner);
    const ids = await lockUnrevoked(transaction, filter, deps.policy.revokeBatchSize);
    const now = await readDatabaseTime(transaction);
    if (ids.length === 0) return { ids, receipt: uncachedReceipt(await readRevision(transaction), now) };
    const revision = await takeRevision(transaction);
    const change = { revokeTime: now, revokedBy: actor, revokeReason: reason, revokeNote: note };
    await changeKeys(transaction, ids, { ...change, revision, updateTime: now });
    return { ids, receipt: uncachedReceipt(revision, now) };
  });
  const { revision } = batch.receipt;
  for (const keyId of batch.ids) {
    deps.log.info({ event: "key.revoked", keyId, owner: filter.owner, reason, revision, actor }, "key revoked");
  }
  return batch;
}
