import { actorOf, type Caller } from "../access/caller.ts";
import { confineOwner } from "../access/permissions.ts";
import { redactSecrets } from "../keys/redact.ts";
import { changeKeys, countUnrevoked, type KeyFilter, lockUnrevoked } from "../postgres/keys.ts";
import { lockOwner } from "../postgres/owners.ts";
import { readRevision, takeRevision } from "../postgres/revisions.ts";
import { readDatabaseTime } from "../postgres/time.ts";
import type { ManageDeps } from "./deps.ts";
import { lockCaller } from "./lock.ts";
import { type Receipt, uncachedReceipt } from "./receipt.ts";
import { record } from "./record.ts";
import { type Revocation, revocationDetails } from "./revoke-key.ts";

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
  const owner = confineOwner(caller, command.filter.owner ?? "");
  const filter = { ...command.filter, ...(owner === "" ? {} : { owner }) };
  if (command.validateOnly) {
    const keyCount = await deps.storage.read((database) => countUnrevoked(database, filter));
    return { keyCount, receipt: undefined };
  }
  await deps.storage.transaction((transaction) => lockCaller(transaction, caller, "claviger:keys.revoke"));
  let keyCount = 0;
  for (;;) {
    const { ids, receipt } = await revokeBatch(deps, caller, { ...command, filter });
    if (ids.length === 0) return { keyCount, receipt };
    keyCount += ids.length;
  }
}

/** Authority was judged before the first batch: a caller whose own key is among those revoked still finishes. */
async function revokeBatch(deps: ManageDeps, caller: Caller, command: RevokeKeys): Promise<Batch> {
  const { filter, reason, note } = command;
  const actor = actorOf(caller);
  const batch = await deps.storage.transaction(async (transaction) => {
    if (filter.owner !== undefined) await lockOwner(transaction, filter.owner);
    const held = await lockUnrevoked(transaction, filter, deps.policy.revokeBatchSize);
    const ids = held.map((key) => key.keyId);
    const now = await readDatabaseTime(transaction);
    if (ids.length === 0) return { ids, receipt: uncachedReceipt(await readRevision(transaction), now) };
    const details = revocationDetails(command);
    const happenings = held.map((key) => ({ action: "key.revoked" as const, ...key, time: now, details }));
    await record(transaction, { deps, caller }, happenings);
    const revision = await takeRevision(transaction);
    const change = { revokeTime: now, revokedBy: actor, revokeReason: reason, revokeNote: redactSecrets(note) };
    await changeKeys(transaction, ids, { ...change, revision, updateTime: now });
    return { ids, receipt: uncachedReceipt(revision, now) };
  });
  const { revision } = batch.receipt;
  for (const keyId of batch.ids) {
    deps.log.info({ event: "key.revoked", keyId, owner: filter.owner, reason, revision, actor }, "key revoked");
  }
  return batch;
}
