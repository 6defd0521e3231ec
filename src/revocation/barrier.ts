import type { Change } from "../keys/change.ts";
import type { Clocks, Timers } from "../system/clocks.ts";
import type { ChangeBus } from "./change-bus.ts";
import { type BarrierPassed, type BusAck, hasApplied, judge, type NodeDelay, type WaitFacts } from "./judge.ts";
import type { Holder, LeaseRegistry } from "./lease-registry.ts";
import { RegistryPoller, type RegistryReader } from "./registry-poller.ts";

export interface BarrierOptions {
  readonly registry: Pick<LeaseRegistry, "list">;
  readonly bus: ChangeBus;
  readonly clocks: Clocks;
  readonly timers: Timers;
  readonly clockRateError: number;
  /** Milliseconds between two reads of the registry while a call waits. */
  readonly pollMs: number;
  /** Milliseconds after which a change is pushed a second time. */
  readonly pushAgainMs: number;
  /** Milliseconds without an answer of the registry after which a wait fails. */
  readonly giveUpMs: number;
  /** Reports a node that acknowledged after this many milliseconds. A node that was waited out is always reported. */
  readonly slowMs: number;
  readonly onDelay: (delay: NodeDelay) => void;
}

/** A committed change to wait for. */
export interface BarrierWait {
  readonly change: Change;
  /** The monotonic clock at or after the reply to the commit. */
  readonly committedMs: number;
}

/**
 * The wait inside a revocation until no verifier can answer from before it. The barrier collects acknowledgements and
 * reads of the registry; `judge` decides when the wait ends (docs/protocol/revocation.md#r9).
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
   * repeated call waits again.
   */
  wait({ change, committedMs }: BarrierWait): Promise<BarrierPassed> {
    const { bus, clocks, timers, giveUpMs, pushAgainMs, clockRateError, slowMs, onDelay } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<BarrierPassed>();
    const acked = new Map<string, BusAck>();
    const readMs = new Map<string, number>();
    const begun = { change, committedMs, beganMs: clocks.monotonicMs(), acked, readMs };
    /** Undefined until the first read of the registry. */
    let facts: WaitFacts | undefined;
    let alarm: { cancel(): void } | undefined;

    const check = () => {
      if (facts === undefined) return;
      alarm?.cancel();
      const judgement = judge(facts, { nowMs: clocks.monotonicMs(), clockRateError, slowMs });
      if (judgement.state === "pending") {
        alarm = timers.after(judgement.leftMs, check);
        return;
      }
      finish();
      for (const delay of judgement.delays) onDelay(delay);
      resolve(judgement.passed);
    };
    const reader: RegistryReader = {
      see(rows) {
        facts = { ...begun, ...mergeRead(facts, rows) };
        for (const row of rows)
          if (hasApplied(begun, row) && !readMs.has(row.epoch)) readMs.set(row.epoch, clocks.monotonicMs());
        check();
      },
      miss(error) {
        if (facts !== undefined || clocks.monotonicMs() - begun.beganMs < giveUpMs) return;
        finish();
        reject(error);
      },
    };
    // Only an acknowledgement of exactly this revision counts (docs/protocol/revocation.md#r7).
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
}

/**
 * Adds a read of the registry. A holder that registered after the first read has read the committed change. A holder
 * that is absent from a later read no longer answers.
 */
function mergeRead(
  before: Pick<WaitFacts, "holders" | "awaited"> | undefined,
  rows: readonly Holder[],
): Pick<WaitFacts, "holders" | "awaited"> {
  const now = [...new Map(rows.map((row) => [row.epoch, row])).values()];
  if (before === undefined) {
    return { holders: now, awaited: new Set(rows.filter((row) => !row.isCollected).map(({ epoch }) => epoch)) };
  }
  const known = new Set(before.holders.map(({ epoch }) => epoch));
  return { holders: now.filter(({ epoch }) => known.has(epoch)), awaited: before.awaited };
}
