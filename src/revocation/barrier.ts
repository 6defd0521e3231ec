import type { Change } from "../keys/change.ts";
import type { Clocks, Timers } from "../verify/clocks.ts";
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
  /** Those whose lease was waited out. */
  readonly expired: number;
  readonly durationMs: number;
  /** Whether somebody answers, or may answer, from the revocation set. */
  readonly usesRevocationSet: boolean;
  /** Whether everybody has acknowledged, those that were collected too. */
  readonly isAcknowledgedByAll: boolean;
}

/**
 * The wait, inside a revocation, until no verifier can still answer from before it (rule R9): each lease holder has
 * acknowledged exactly this revision over the bus, or everything up to it in the registry, or is gone, or its lease is
 * over by the row's own term (rule R10).
 */
export class Barrier {
  readonly #options: BarrierOptions;
  readonly #poller: RegistryPoller;

  constructor(options: BarrierOptions) {
    this.#options = options;
    this.#poller = new RegistryPoller({ ...options, everyMs: options.pollMs });
  }

  /** Rejects only if the registry cannot be read: then nothing is known, and a repetition waits again. */
  wait({ change, committedMs }: BarrierWait): Promise<BarrierPassed> {
    const { bus, clocks, timers, giveUpMs, pushAgainMs } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<BarrierPassed>();
    const beganMs = clocks.monotonicMs();
    const acked = new Set<string>();
    let holders: Map<string, Holder> | undefined;
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
      resolve({
        confirmed: leased.length - silent.length,
        expired: silent.length,
        durationMs: clocks.monotonicMs() - beganMs,
        usesRevocationSet: [...holders.values()].some((holder) => holder.usesRevocationSet),
        isAcknowledgedByAll: [...holders.values()].every(hasApplied),
      });
    };
    const reader: RegistryReader = {
      see(rows) {
        const now = new Map(rows.map((row) => [row.epoch, row]));
        // Who registered after the first read has read what is committed; who is gone from a later one serves nothing.
        holders = holders === undefined ? now : new Map([...now].filter(([epoch]) => holders?.has(epoch)));
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
      acked.add(ack.epoch);
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

  #waitFor({ termMs }: Holder): number {
    return waitingTime(termMs, this.#options.clockRateError);
  }
}
