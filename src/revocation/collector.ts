import { type Clocks, type Timers, waitingTime } from "../system/clocks.ts";
import type { Holder, LeaseRegistry } from "./lease-registry.ts";

export interface CollectorOptions {
  readonly registry: Pick<LeaseRegistry, "list" | "collect">;
  readonly clocks: Clocks;
  readonly timers: Timers;
  readonly clockRateError: number;
  /** The lease term of this process. The collector reads the registry four times per term. */
  readonly termMs: number;
  readonly onCollected?: (epoch: string) => void;
}

interface Silence {
  readonly renewSeq: number;
  readonly sinceMs: number;
}

/**
 * Collects dead holders, so that no revocation waits for them (docs/protocol/revocation.md#r15). A holder is dead after
 * two waits of its own term without a renewal. The collector counts on the clock of this process, and starts again after
 * a gap between its reads, because a gap may have hidden the renewal of a live holder.
 */
export class Collector {
  readonly #options: CollectorOptions;
  readonly #silences = new Map<string, Silence>();
  #lastReadMs = Number.NEGATIVE_INFINITY;
  #next: { cancel(): void } | undefined;
  #stopped = false;

  constructor(options: CollectorOptions) {
    this.#options = options;
  }

  start(): void {
    this.#schedule();
  }

  stop(): void {
    this.#stopped = true;
    this.#next?.cancel();
  }

  #schedule(): void {
    if (this.#stopped) return;
    this.#next = this.#options.timers.after(this.#options.termMs / 4, () => {
      void this.#read().then(() => this.#schedule());
    });
  }

  async #read(): Promise<void> {
    const { registry, clocks, termMs } = this.#options;
    const beganMs = clocks.monotonicMs();
    try {
      const holders = await registry.list();
      const doneMs = clocks.monotonicMs();
      if (doneMs - this.#lastReadMs > termMs / 2) this.#silences.clear();
      this.#lastReadMs = beganMs;
      const there = new Set(holders.map(({ epoch }) => epoch));
      for (const epoch of this.#silences.keys()) if (!there.has(epoch)) this.#silences.delete(epoch);
      for (const holder of holders) if (!holder.isCollected) await this.#judge(holder, { beganMs, doneMs });
    } catch {
      // The read failed and may have missed a renewal, so that the count starts again.
      this.#silences.clear();
    }
  }

  async #judge(holder: Holder, read: { readonly beganMs: number; readonly doneMs: number }): Promise<void> {
    const { registry, clockRateError, onCollected } = this.#options;
    const { epoch, renewSeq } = holder;
    const silence = this.#silences.get(epoch);
    if (silence?.renewSeq !== renewSeq) {
      this.#silences.set(epoch, { renewSeq, sinceMs: read.doneMs });
      return;
    }
    if (read.beganMs - silence.sinceMs < 2 * waitingTime(holder.termMs, clockRateError)) return;
    this.#silences.delete(epoch);
    if (await registry.collect({ epoch, renewSeq })) onCollected?.(epoch);
  }
}
