import type { Change } from "../keys/change.ts";
import { ClavigerError } from "../keys/errors.ts";
import type { KeyRecord } from "../keys/key.ts";
import { settleKeys } from "../postgres/keys.ts";
import type { DatabaseMoment } from "../postgres/time.ts";
import type { ManageDeps } from "./deps.ts";
import { type Receipt, receiptOf, settledReceipt } from "./receipt.ts";

/** What a management call has left behind. */
export interface Outcome extends DatabaseMoment {
  readonly key: KeyRecord;
  readonly changed: boolean;
  /** What `changeKeys` returned; missing where nothing was changed. */
  readonly setMarker?: string;
}

/**
 * The end of every management call that leaves a key in the state asked for, whether or not it changed anything: says
 * what changed, and returns once everything that was ever taken from the key is obeyed everywhere. So a repetition
 * after a crash waits again (docs/protocol/revocation.md#r16).
 */
export async function settle(deps: ManageDeps, { key, now, identity, changed, setMarker }: Outcome): Promise<Receipt> {
  const { narrowedRevision, settledRevision } = key;
  const isUnsettled = narrowedRevision > settledRevision;
  if (changed && !(isUnsettled && narrowedRevision === key.revision)) {
    void deps.revoker.announce({ revision: key.revision, identity, keyIds: [key.id] }, setMarker);
  }
  if (!isUnsettled) return settledReceipt(narrowedRevision, now);
  const change = { revision: narrowedRevision, identity, keyIds: [key.id] };
  const settlement = await deps.revoker.settle(change, setMarker);
  remember(deps, change);
  return receiptOf(narrowedRevision, now, settlement);
}

/** Nobody waits for it: if it is lost, a repetition waits once more than it needs. */
export function remember({ storage, log }: ManageDeps, change: Change & { keyIds: readonly string[] }): void {
  storage
    .read((database) => settleKeys(database, change))
    .catch((error: unknown) => {
      // The log has an outage of storage once, and not for each revocation.
      const isAway = error instanceof ClavigerError && error.reason === "STORAGE_UNAVAILABLE";
      log[isAway ? "debug" : "warn"]({ err: error }, "a revocation is effective, and that could not be remembered");
    });
}
