import type { Change } from "../keys/change.ts";
import type { KeyRecord } from "../keys/key.ts";
import { settleKeys } from "../postgres/keys.ts";
import type { ManageDeps } from "./deps.ts";
import { type Receipt, receiptOf, settledReceipt } from "./receipt.ts";

/** What a management call has left behind. */
export interface Outcome {
  readonly key: KeyRecord;
  readonly now: Date;
  readonly changed: boolean;
}

/**
 * The end of every management call that leaves a key in the state asked for, whether or not it changed anything: says
 * what changed, and returns once everything that was ever taken from the key is obeyed everywhere. So a repetition
 * after a crash waits again (rule R16).
 */
export async function settle(deps: ManageDeps, { key, now, changed }: Outcome): Promise<Receipt> {
  const { narrowedRevision, settledRevision } = key;
  const isUnsettled = narrowedRevision > settledRevision;
  if (changed && !(isUnsettled && narrowedRevision === key.revision)) {
    void deps.revoker.announce({ revision: key.revision, keyIds: [key.id] });
  }
  if (!isUnsettled) return settledReceipt(narrowedRevision, now);
  const settlement = await deps.revoker.settle({ revision: narrowedRevision, keyIds: [key.id] });
  remember(deps, { revision: narrowedRevision, keyIds: [key.id] });
  return receiptOf(narrowedRevision, now, settlement);
}

/** Nobody waits for it: if it is lost, a repetition waits once more than it needs. */
export function remember(
  { storage, log }: ManageDeps,
  { revision, keyIds }: Change & { keyIds: readonly string[] },
): void {
  storage
    .read((database) => settleKeys(database, keyIds, revision))
    .catch((error: unknown) => log.warn({ err: error }, "a revocation is effective, and that could not be remembered"));
}
