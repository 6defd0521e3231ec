import type { Clocks, Timers } from "../system/clocks.ts";
import type { Holder, LeaseRegistry } from "./lease-registry.ts";
import { waitingTime } from "./waiting-time.ts";

export interface CollectorOptions {
  readonly registry: Pick<LeaseRegistry, "list" | "collect">;
  readonly clocks: Clocks;
  readonly timers: Timers;
  readonly clockRateError: number;
  /** The own lease term; looks are a quarter of it apart. */
  readonly termMs: number;
  readonly onCollected?: (epoch: string) => void;
}

interface Silence {
  readonly renewSeq: number;
  readonly sinceMs: number;
}

/**
 * Gives up verifiers that are gone, so that no revocation waits for them (docs/protocol/revocation.md#r15): after two
 * waits of their own term without a renewal, counted on this process' clock, and only while it could look without a
 * gap. A gap may have hidden the renewal of a holder that is alive.
 */
export class Collector {
  readonly #options: CollectorOptions;
  readonly #silences = new Map<string, Silence>();
  #lookedMs = Number.NEGATIVE_INFINITY;
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
      void this.#look().then(() => this.#schedule());
    });
  }

  async #look(): Promise<void> {
    const { registry, clocks, termMs } = this.#options;
    const beganMs = clocks.monotonicMs();
    try {
      const holders = await registry.list();
      const doneMs = clocks.monotonicMs();
      if (doneMs - this.#lookedMs > termMs / 2) this.#silences.clear();
      this.#lookedMs = beganMs;
      const there = new Set(holders.map(({ epoch }) => epoch));
      for (const epoch of this.#silences.keys()) if (!there.has(epoch)) this.#silences.delete(epoch);
      for (const holder of holders) if (!holder.isCollected) await this.#judge(holder, { beganMs, doneMs });
    } catch {
      // What is unknown is not held against anybody: the gap starts the count again.
      this.#silences.clear();
    }
  }

  async #judge(holder: Holder, look: { readonly beganMs: number; readonly doneMs: number }): Promise<void> {
    const { registry, clockRateError, onCollected } = this.#options;
    const { epoch, renewSeq } = holder;
    const silence = this.#silences.get(epoch);
    if (silence?.renewSeq !== renewSeq) {
      this.#silences.set(epoch, { renewSeq, sinceMs: look.doneMs });
      return;
    }
    if (look.beganMs - silence.sinceMs < 2 * waitingTime(holder.termMs, clockRateError)) return;
    this.#silences.delete(epoch);
    if (await registry.collect({ epoch, renewSeq })) onCollected?.(epoch);
  }
}
