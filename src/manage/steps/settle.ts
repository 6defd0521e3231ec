import type { Change } from "../../keys/change.ts";
import { ClavigerError } from "../../keys/errors.ts";
import type { KeyRecord } from "../../keys/key.ts";
import { settleKeys } from "../../postgres/keys.ts";
import type { DatabaseMoment } from "../../postgres/time.ts";
import type { CommitFacts } from "../../revocation/revocation-fallback.ts";
import type { Settlement } from "../../revocation/revoker.ts";
import { CLOCK_RATE_ERROR, waitingTime } from "../../system/clocks.ts";
import type { ManageDeps, ManagePolicy } from "../deps.ts";

/** How a change that takes validity away became effective on all verifiers. */
export interface Receipt {
  readonly revision: number;
  /** The database's time, continued by this process' clock since the change. */
  readonly effectiveTime: Date;
  readonly confirmedVerifiers: number;
  readonly expiredVerifiers: number;
  readonly barrierMs: number;
  readonly isInRevocationSet: boolean;
}

/** The receipt of a change at `revision`, made at `time` of the database. */
export function receiptOf(revision: number, time: Date, settlement: Settlement): Receipt {
  const { confirmed, expired, durationMs, isInRevocationSet } = settlement;
  const effectiveTime = new Date(time.getTime() + Math.ceil(durationMs));
  return {
    ...{ revision, effectiveTime, isInRevocationSet },
    ...{ confirmedVerifiers: confirmed, expiredVerifiers: expired, barrierMs: durationMs },
  };
}

/** The receipt of a change that was effective before this call. */
export function settledReceipt(revision: number, time: Date): Receipt {
  return receiptOf(revision, time, { confirmed: 0, expired: 0, durationMs: 0, isInRevocationSet: false });
}

/**
 * Whether validity that ends at `end` ends so soon that the change waits at the barrier: before now + 2W. Every cache
 * learns of later ends in time.
 */
export function endsSoon(end: Date, now: Date, { leaseMs }: Pick<ManagePolicy, "leaseMs">): boolean {
  return end.getTime() < now.getTime() + 2 * waitingTime(leaseMs, CLOCK_RATE_ERROR);
}

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
