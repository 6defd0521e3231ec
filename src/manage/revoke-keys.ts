import { actorOf, type Caller } from "../access/caller.ts";
import { confineOwner, mayChange } from "../access/permissions.ts";
import { MAX_NAMED_KEYS } from "../keys/change.ts";
import { ClavigerError } from "../keys/errors.ts";
import type { KeyRecord } from "../keys/key.ts";
import { redactSecrets } from "../keys/secret.ts";
import {
  changeKeys,
  countUnrevoked,
  type KeyFilter,
  listUnrevokedWithOwnScope,
  listUnsettled,
  lockUnrevoked,
} from "../postgres/keys.ts";
import { lockOwner } from "../postgres/owners.ts";
import { readRevision } from "../postgres/revisions.ts";
import { Ending } from "../postgres/statements.ts";
import type { Database } from "../postgres/storage.ts";
import { readDatabaseMoment } from "../postgres/time.ts";
import type { ManageDeps } from "./deps.ts";
import { type Revocation, revocationDetails } from "./revoke-key.ts";
import { lockCaller } from "./steps/lock.ts";
import { record } from "./steps/record.ts";
import { type Receipt, receiptOf, remember, settledReceipt } from "./steps/settle.ts";

export interface RevokeKeys extends Revocation {
  /** At least one of owner and labels is set. */
  readonly filter: Pick<KeyFilter, "owner" | "labels">;
  /** Count only. */
  readonly validateOnly: boolean;
}

/**
 * Revokes every key of the filter, a bounded number per transaction, until none is left. Each transaction locks the
 * owner first, so that a concurrent creation is either seen or comes after. One wait at the end covers all keys,
 * including those of an earlier call that did not finish waiting.
 */
export async function revokeKeys(
  deps: ManageDeps,
  caller: Caller,
  command: RevokeKeys,
): Promise<{ readonly keyCount: number; readonly receipt: Receipt | undefined }> {
  const owner = confineOwner(caller, command.filter.owner ?? "");
  const filter = { ...command.filter, ...(owner === "" ? {} : { owner }) };
  if (command.validateOnly) {
    return deps.storage.read(async (database) => {
      await requireAllChangeable(database, caller, filter);
      return { keyCount: await countUnrevoked(database, filter), receipt: undefined };
    });
  }
  await deps.storage.transaction(async (transaction) => {
    const locked = await lockCaller(transaction, caller, "claviger:keys.revoke");
    await requireAllChangeable(transaction, locked.caller, filter);
  });
  let keyCount = 0;
  for (;;) {
    const count = await revokeBatch(deps, caller, { ...command, filter });
    keyCount += count;
    if (count === 0) return { keyCount, receipt: await settleAll(deps, filter) };
  }
}

/** Maximum of administrators' keys that are read of a selection, and that an error names. */
const PROTECTED_READ = 1000;
const PROTECTED_NAMED = 5;

/** Refuses a selection with keys that the caller may not end. Then no key is revoked. */
async function requireAllChangeable(database: Database, caller: Caller, filter: KeyFilter): Promise<void> {
  requireChangeableKeys(caller, await listUnrevokedWithOwnScope(database, filter, PROTECTED_READ));
}

function requireChangeableKeys(caller: Caller, keys: readonly Pick<KeyRecord, "id" | "owner" | "scopes">[]): void {
  const refused = keys.filter((key) => !mayChange(caller, key, "ends")).map(({ id }) => id);
  if (refused.length === 0) return;
  const named = refused.slice(0, PROTECTED_NAMED).join(", ");
  const more = refused.length > PROTECTED_NAMED ? " and more" : "";
  throw new ClavigerError(
    "SCOPE_NOT_GRANTABLE",
    `the selection holds keys with scopes of claviger:, which the caller may not end: ${named}${more}. No key was revoked. Narrow the selection, or have an administrator revoke it`,
    { metadata: { key_ids: refused.slice(0, PROTECTED_NAMED).join(",") } },
  );
}

/** Authority was checked before the first batch: a caller whose own key is revoked on the way still finishes. */
async function revokeBatch(deps: ManageDeps, caller: Caller, command: RevokeKeys): Promise<number> {
  const { filter, reason, note } = command;
  const actor = actorOf(caller);
  const { rows, identity } = await deps.storage.transaction(async (transaction) => {
    if (filter.owner !== undefined) await lockOwner(transaction, filter.owner);
    const held = await lockUnrevoked(transaction, filter, deps.policy.revokeBatchSize);
    const { now, identity } = await readDatabaseMoment(transaction);
    if (held.length === 0) return { rows: [], identity };
    requireChangeableKeys(caller, held);
    const details = revocationDetails(command);
    const happenings = held.map(({ id, owner }) => {
      return { action: "key.revoked" as const, keyId: id, owner, time: now, details };
    });
    const recorded = record(transaction, { deps, caller }, happenings);
    const change = { revokeTime: now, revokedBy: actor, revokeReason: reason, revokeNote: redactSecrets(note) };
    const ids = held.map(({ id }) => id);
    const written = changeKeys(transaction, { ids, change, updateTime: now, narrows: true });
    return Ending.of(recorded, [written], ([rows]) => ({ rows, identity }));
  });
  const [first] = rows;
  if (first === undefined) return 0;
  const { revision } = first.key;
  void deps.revoker.announce({ revision, identity, keyIds: rows.map(({ key }) => key.id) }, first);
  for (const { key } of rows) {
    const { id: keyId, owner } = key;
    deps.log.info({ event: "key.revoked", keyId, owner, reason, revision, actor }, "key revoked");
  }
  return rows.length;
}

/** Waits for every revoked key of the filter that some verifier does not obey yet, whichever call revoked it. */
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
  // An acknowledgement covers one revision. Several revisions need one that drops all keys.
  const settlement = await deps.revoker.settle({ revision, identity, keyIds: areOfOneChange ? ids : "all" });
  for (let from = 0; from < ids.length; from += MAX_NAMED_KEYS) {
    remember(deps, { revision, identity, keyIds: ids.slice(from, from + MAX_NAMED_KEYS) });
  }
  return receiptOf(revision, now, settlement);
}
