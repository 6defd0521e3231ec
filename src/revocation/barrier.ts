import type { Change } from "../keys/change.ts";
import type { Clocks, Timers } from "../system/clocks.ts";
import type { ChangeBus } from "./change-bus.ts";
import type { Holder, LeaseRegistry } from "./lease-registry.ts";
import { RegistryPoller, type RegistryReader } from "./registry-poller.ts";
import { waitingTime } from "./waiting-time.ts";

export interface BarrierOptions {
  readonly registry: Pick<LeaseRegistry, "list">;
  readonly bus: ChangeBus;
  readonly clocks: Clocks;
  readonly timers: Timers;
  readonly clockRateError: number;
  /** Milliseconds between two reads of the registry while somebody waits. */
  readonly pollMs: number;
  /** Milliseconds after which a change is pushed once more. */
  readonly pushAgainMs: number;
  /** Milliseconds without any answer of the registry after which a wait fails. */
  readonly giveUpMs: number;
  /** Milliseconds from which on a node that a change waited for is reported; one that was waited out always is. */
  readonly slowMs: number;
  readonly onDelay: (delay: NodeDelay) => void;
}

/** That a change waited for a node. */
export interface NodeDelay {
  readonly epoch: string;
  readonly address: string;
  readonly revision: number;
  /** From when the wait began. */
  readonly heldMs: number;
  /** How the wait for the node ended. */
  readonly ended: "acknowledged late" | "lease ran out" | "collected";
  /** Agents of the node that it had to wait out, if it said so. */
  readonly waitedOutAgents: number;
}

/** A change that has been committed. */
export interface BarrierWait {
  readonly change: Change;
  /** The monotonic clock at or after the commit's reply. */
  readonly committedMs: number;
}

/** How a change became obeyed by every lease holder. */
export interface BarrierPassed {
  readonly confirmed: number;
  /** Nodes and agents that were waited out until their lease had ended. */
  readonly expired: number;
  readonly durationMs: number;
  /** Whether somebody answers, or may answer, from the revocation set. */
  readonly usesRevocationSet: boolean;
  /** Whether everybody has acknowledged, those that were collected too. */
  readonly isAcknowledgedByAll: boolean;
}

/** Verifiers that have acknowledged over the bus, by epoch: when, and how many agents they have waited out. */
type Acked = Map<string, { readonly atMs: number; readonly waitedOutAgents: number }>;

interface Concluded {
  readonly change: Change;
  readonly beganMs: number;
  readonly acked: Acked;
  readonly readMs: ReadonlyMap<string, number>;
  readonly hasApplied: (holder: Holder) => boolean;
  readonly awaited: ReadonlySet<string>;
  readonly holders: readonly Holder[];
}

/**
 * The wait, inside a revocation, until no verifier can still answer from before it (docs/protocol/revocation.md#r9).
 * Each lease holder has acknowledged exactly this revision over the bus, or everything up to it in the registry, or is
 * gone, or its lease is over by the row's own term (docs/protocol/revocation.md#r10).
 */
export class Barrier {
  readonly #options: BarrierOptions;
  readonly #poller: RegistryPoller;

  constructor(options: BarrierOptions) {
    this.#options = options;
    this.#poller = new RegistryPoller({ ...options, everyMs: options.pollMs });
  }

  /**
   * Rejects only if the registry cannot be read: the outcome is then unknown (docs/protocol/revocation.md#r18), and a
   * repetition waits again.
   */
  wait({ change, committedMs }: BarrierWait): Promise<BarrierPassed> {
    const { bus, clocks, timers, giveUpMs, pushAgainMs } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<BarrierPassed>();
    const beganMs = clocks.monotonicMs();
    const acked: Acked = new Map();
    /** When the registry was first seen to say so. */
    const readMs = new Map<string, number>();
    let holders: Map<string, Holder> | undefined;
    /** Those whose lease was not given up when the registry was first read. */
    let awaited: ReadonlySet<string> = new Set();
    let alarm: { cancel(): void } | undefined;

    const hasApplied = ({ epoch, ackedRevision }: Holder) => acked.has(epoch) || ackedRevision >= change.revision;
    const check = () => {
      if (holders === undefined) return;
      alarm?.cancel();
      const leased = [...holders.values()].filter((holder) => !holder.isCollected);
      const silent = leased.filter((holder) => !hasApplied(holder));
      const endsMs = Math.max(0, ...silent.map((holder) => committedMs + this.#waitFor(holder)));
      const leftMs = endsMs - clocks.monotonicMs();
      if (silent.length > 0 && leftMs > 0) {
        alarm = timers.after(leftMs, check);
        return;
      }
      finish();
      resolve(this.#conclude({ change, beganMs, acked, readMs, awaited, hasApplied, holders: [...holders.values()] }));
    };
    const reader: RegistryReader = {
      see(rows) {
        const now = new Map(rows.map((row) => [row.epoch, row]));
        if (holders === undefined) awaited = new Set(rows.flatMap((row) => (row.isCollected ? [] : [row.epoch])));
        // Who registered after the first read has read what is committed; who is gone from a later one serves nothing.
        holders = holders === undefined ? now : new Map([...now].filter(([epoch]) => holders?.has(epoch)));
        for (const row of rows)
          if (hasApplied(row) && !readMs.has(row.epoch)) readMs.set(row.epoch, clocks.monotonicMs());
        check();
      },
      miss(error) {
        if (holders !== undefined || clocks.monotonicMs() - beganMs < giveUpMs) return;
        finish();
        reject(error);
      },
    };
    const unsubscribe = bus.onAck((ack) => {
      if (ack.revision !== change.revision || ack.identity !== change.identity) return;
      if (!acked.has(ack.epoch)) {
        acked.set(ack.epoch, { atMs: clocks.monotonicMs(), waitedOutAgents: ack.waitedOutAgents ?? 0 });
      }
      check();
    });
    const again = timers.after(pushAgainMs, () => void bus.push(change));
    const finish = () => {
      unsubscribe();
      again.cancel();
      alarm?.cancel();
      this.#poller.remove(reader);
    };
    void bus.push(change);
    this.#poller.add(reader);
    return promise;
  }

  /** Counts how the wait for each holder ended, and reports those that were slow. */
  #conclude({ change, beganMs, acked, readMs, awaited, hasApplied, holders }: Concluded): BarrierPassed {
    const { clocks, slowMs, onDelay } = this.#options;
    const nowMs = clocks.monotonicMs();
    let [confirmed, expired] = [0, 0];
    for (const holder of holders.filter(({ epoch }) => awaited.has(epoch))) {
      const { epoch, address, isCollected } = holder;
      const isConfirmed = hasApplied(holder);
      const { atMs = readMs.get(epoch) ?? nowMs, waitedOutAgents = 0 } = acked.get(epoch) ?? {};
      if (isConfirmed) confirmed += 1;
      expired += isConfirmed ? waitedOutAgents : 1;
      const heldMs = (isConfirmed ? atMs : nowMs) - beganMs;
      if (isConfirmed && heldMs < slowMs) continue;
      const ended = isConfirmed ? "acknowledged late" : isCollected ? "collected" : "lease ran out";
      onDelay({ epoch, address, revision: change.revision, heldMs, ended, waitedOutAgents });
    }
    return {
      ...{ confirmed, expired, durationMs: nowMs - beganMs },
      usesRevocationSet: holders.some((holder) => holder.usesRevocationSet),
      isAcknowledgedByAll: holders.every(hasApplied),
    };
  }

  #waitFor({ termMs }: Holder): number {
    return waitingTime(termMs, this.#options.clockRateError);
  }
}
