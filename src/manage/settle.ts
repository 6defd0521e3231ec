import type { Change } from "../keys/change.ts";
import { ClavigerError } from "../keys/errors.ts";
import type { KeyRecord } from "../keys/key.ts";
import { settleKeys } from "../postgres/keys.ts";
import type { DatabaseMoment } from "../postgres/time.ts";
import type { CommitFacts } from "../revocation/revocation-fallback.ts";
import type { ManageDeps } from "./deps.ts";
import { type Receipt, receiptOf, settledReceipt } from "./receipt.ts";

/** The state that a management call leaves. */
export interface Outcome extends DatabaseMoment, CommitFacts {
  readonly key: KeyRecord;
  readonly changed: boolean;
}

/**
 * The end of every management call that leaves a key in the requested state, with or without a change. Announces the
 * change, and returns once all verifiers obey every narrowing of the key so far. A repetition after a crash therefore
 * waits again (docs/protocol/revocation.md#r16).
 */
export async function settle(deps: ManageDeps, outcome: Outcome): Promise<Receipt> {
  const { key, now, identity, changed } = outcome;
  const { narrowedRevision, settledRevision } = key;
  const isUnsettled = narrowedRevision > settledRevision;
  if (changed && !(isUnsettled && narrowedRevision === key.revision)) {
    void deps.revoker.announce({ revision: key.revision, identity, keyIds: [key.id] }, outcome);
  }
  if (!isUnsettled) return settledReceipt(narrowedRevision, now);
  const change = { revision: narrowedRevision, identity, keyIds: [key.id] };
  const settlement = await deps.revoker.settle(change, outcome);
  remember(deps, change);
  return receiptOf(narrowedRevision, now, settlement);
}

/** Runs in the background. If it is lost, a repetition waits once more than necessary. */
export function remember({ storage, log }: ManageDeps, change: Change & { keyIds: readonly string[] }): void {
  storage
    .read((database) => settleKeys(database, change))
    .catch((error: unknown) => {
      // Storage logs its own outage once, instead of once per revocation.
      const isAway = error instanceof ClavigerError && error.reason === "STORAGE_UNAVAILABLE";
      log[isAway ? "debug" : "warn"]({ err: error }, "a revocation is effective, and that could not be remembered");
    });
}
