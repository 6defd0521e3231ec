import type { Change } from "../keys/change.ts";
import { waitingTime } from "../system/clocks.ts";
import type { Holder } from "./lease-registry.ts";

/** An acknowledgement that arrived over the bus. */
export interface BusAck {
  readonly atMs: number;
  /** Agents whose leases the node waited out before it acknowledged. */
  readonly waitedOutAgents: number;
}

/** The facts that a wait has collected. All times are by the monotonic clock of this process. */
export interface WaitFacts {
  readonly change: Change;
  /** A moment at or after the reply to the commit. */
  readonly committedMs: number;
  readonly beganMs: number;
  /** The rows of the registry that were in its first read after the commit and are still there. */
  readonly holders: readonly Holder[];
  /** The epochs that were not collected at the first read. */
  readonly awaited: ReadonlySet<string>;
  /** Acknowledgements of exactly this revision over the bus, by epoch. */
  readonly acked: ReadonlyMap<string, BusAck>;
  /** When the registry first showed that an epoch has applied the revision. */
  readonly readMs: ReadonlyMap<string, number>;
}

export interface JudgeOptions {
  readonly nowMs: number;
  readonly clockRateError: number;
  /** Reports a node that acknowledged after this many milliseconds. A node that was waited out is always reported. */
  readonly slowMs: number;
}

/** Reports that a change waited for a node. */
export interface NodeDelay {
  readonly epoch: string;
  readonly address: string;
  readonly revision: number;
  /** Milliseconds since the wait began. */
  readonly heldMs: number;
  /** How the wait for the node ended. */
  readonly ended: "acknowledged late" | "lease ran out" | "collected";
  /** Agents whose leases the node waited out, if it reported them. */
  readonly waitedOutAgents: number;
}

/** The result of a wait that has ended. */
export interface BarrierPassed {
  readonly confirmed: number;
  /** Nodes and agents whose leases were waited out. */
  readonly expired: number;
  readonly durationMs: number;
  /** Whether a holder answers, or may answer, from the revocation set. */
  readonly usesRevocationSet: boolean;
  /** Whether every holder has acknowledged, collected holders included. */
  readonly isAcknowledgedByAll: boolean;
}

export type Judgement =
  | {
      readonly state: "pending";
      /** Milliseconds until the wait ends without further acknowledgements. */
      readonly leftMs: number;
    }
  | { readonly state: "passed"; readonly passed: BarrierPassed; readonly delays: readonly NodeDelay[] };

/**
 * Decides whether a verifier can still answer from before the change (docs/protocol/revocation.md#r9). The wait has
 * passed when each lease holder has acknowledged exactly this revision over the bus, or every revision up to it in the
 * registry, or has left or was collected, or when its lease is over by the term in its own row
 * (docs/protocol/revocation.md#r10).
 */
export function judge(facts: WaitFacts, { nowMs, clockRateError, slowMs }: JudgeOptions): Judgement {
  const { holders, committedMs } = facts;
  const waitMs = ({ termMs }: Holder) => waitingTime(termMs, clockRateError);
  const silent = holders.filter((holder) => !holder.isCollected && !hasApplied(facts, holder));
  const endsMs = Math.max(0, ...silent.map((holder) => committedMs + waitMs(holder)));
  const leftMs = endsMs - nowMs;
  if (silent.length > 0 && leftMs > 0) return { state: "pending", leftMs };
  return { state: "passed", ...conclude(facts, nowMs, slowMs) };
}

/** Whether a holder is known to have applied the change. */
export function hasApplied({ acked, change }: Pick<WaitFacts, "acked" | "change">, holder: Holder): boolean {
  return acked.has(holder.epoch) || holder.ackedRevision >= change.revision;
}

/** Counts how the wait for each holder ended, and lists the holders that were slow. */
function conclude(
  facts: WaitFacts,
  nowMs: number,
  slowMs: number,
): { readonly passed: BarrierPassed; readonly delays: readonly NodeDelay[] } {
  const { change, beganMs, acked, readMs, awaited, holders } = facts;
  const delays: NodeDelay[] = [];
  let [confirmed, expired] = [0, 0];
  for (const holder of holders.filter(({ epoch }) => awaited.has(epoch))) {
    const { epoch, address, isCollected } = holder;
    const isConfirmed = hasApplied(facts, holder);
    const { atMs = readMs.get(epoch) ?? nowMs, waitedOutAgents = 0 } = acked.get(epoch) ?? {};
    if (isConfirmed) confirmed += 1;
    expired += isConfirmed ? waitedOutAgents : 1;
    const heldMs = (isConfirmed ? atMs : nowMs) - beganMs;
    if (isConfirmed && heldMs < slowMs) continue;
    const ended = isConfirmed ? "acknowledged late" : isCollected ? "collected" : "lease ran out";
    delays.push({ epoch, address, revision: change.revision, heldMs, ended, waitedOutAgents });
  }
  const passed = {
    confirmed,
    expired,
    durationMs: nowMs - beganMs,
    usesRevocationSet: holders.some((holder) => holder.usesRevocationSet),
    isAcknowledgedByAll: holders.every((holder) => hasApplied(facts, holder)),
  };
  return { passed, delays };
}
