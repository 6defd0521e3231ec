import { actorOf, type Caller } from "../access/caller.ts";
import { confineOwner } from "../access/permissions.ts";
import { MAX_NAMED_KEYS } from "../keys/change.ts";
import { redactSecrets } from "../keys/redact.ts";
import { changeKeys, countUnrevoked, type KeyFilter, listUnsettled, lockUnrevoked } from "../postgres/keys.ts";
import { lockOwner } from "../postgres/owners.ts";
import { readRevision } from "../postgres/revisions.ts";
import { readDatabaseMoment } from "../postgres/time.ts";
import type { ManageDeps } from "./deps.ts";
import { lockCaller } from "./lock.ts";
import { type Receipt, receiptOf, settledReceipt } from "./receipt.ts";
import { record } from "./record.ts";
import { type Revocation, revocationDetails } from "./revoke-key.ts";
import { remember } from "./settle.ts";

export interface RevokeKeys extends Revocation {
  /** At least one of owner and labels is set. */
  readonly filter: Pick<KeyFilter, "owner" | "labels">;
  /** Count only. */
  readonly validateOnly: boolean;
}

/**
 * Revokes every key of the filter, a bounded number per transaction, until one finds none left. Each holds the owner
 * first, so that a creation in flight is either seen or comes after. One wait at the end covers them all, and keys that
 * an earlier call revoked and did not see obeyed.
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
    const count = await revokeBatch(deps, caller, { ...command, filter });
    keyCount += count;
    if (count === 0) return { keyCount, receipt: await settleAll(deps, filter) };
  }
}

/** Authority was judged before the first batch: a caller whose own key is among those revoked still finishes. */
async function revokeBatch(deps: ManageDeps, caller: Caller, command: RevokeKeys): Promise<number> {
  const { filter, reason, note } = command;
  const actor = actorOf(caller);
  const { rows, identity } = await deps.storage.transaction(async (transaction) => {
    if (filter.owner !== undefined) await lockOwner(transaction, filter.owner);
    const held = await lockUnrevoked(transaction, filter, deps.policy.revokeBatchSize);
    const { now, identity } = await readDatabaseMoment(transaction);
    if (held.length === 0) return { rows: [], identity };
    const details = revocationDetails(command);
    const happenings = held.map((key) => ({ action: "key.revoked" as const, ...key, time: now, details }));
    await record(transaction, { deps, caller }, happenings);
    const change = { revokeTime: now, revokedBy: actor, revokeReason: reason, revokeNote: redactSecrets(note) };
    const ids = held.map((key) => key.keyId);
    return { rows: await changeKeys(transaction, { ids, change, updateTime: now, narrows: true }), identity };
  });
  const [first] = rows;
  if (first === undefined) return 0;
  const { setMarker } = first;
  const { revision } = first.key;
  void deps.revoker.announce({ revision, identity, keyIds: rows.map(({ key }) => key.id) }, setMarker);
  for (const { key } of rows) {
    const { id: keyId, owner } = key;
    deps.log.info({ event: "key.revoked", keyId, owner, reason, revision, actor }, "key revoked");
  }
  return rows.length;
}

/** Waits for every key of the filter that is revoked and not obeyed everywhere, by whichever call. */
async function settleAll(deps: ManageDeps, filter: RevokeKeys["filter"]): Promise<Receipt> {
  const { now, identity, last, unsettled } = await deps.storage.transaction(async (transaction) => ({
    ...(await readDatabaseMoment(transaction)),
    last: await readRevision(transaction),
    unsettled: await listUnsettled(transaction, filter),
  }));
  const revision = unsettled.reduce((last, key) => Math.max(last, key.revision), 0);
  if (revision === 0) return settledReceipt(last, now);
  const ids = unsettled.map((key) => key.keyId);
  const areOfOneChange = unsettled.every((key) => key.revision === revision) && ids.length <= MAX_NAMED_KEYS;
  // An acknowledgement is for one revision: of several, it must be one of dropping everything.
  const settlement = await deps.revoker.settle({ revision, identity, keyIds: areOfOneChange ? ids : "all" });
  for (let from = 0; from < ids.length; from += MAX_NAMED_KEYS) {
    remember(deps, { revision, identity, keyIds: ids.slice(from, from + MAX_NAMED_KEYS) });
  }
  return receiptOf(revision, now, settlement);
}
