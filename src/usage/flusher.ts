import type { UsageBatch } from "../keys/usage-delta.ts";
import type { Clocks, Random } from "../system/clocks.ts";
import type { UsageRecorder } from "./recorder.ts";

/**
 * The outcome for a batch. `taken`: stored now. `known`: stored before. `gap`: the ledger lacks batches that it had
 * stored, as after the restore of a backup. `full`: the agent's calling key has too many sources.
 */
export type Appended = "taken" | "known" | "gap" | "full";

/** Stores each batch once, from any source: server nodes, workers, verifiers inside agents. */
export interface UsageLedger {
  /** Rejects if the outcome is unknown: send the same batch again. */
  append(batch: UsageBatch): Promise<Appended>;
}

export interface UsageFlusherOptions {
  readonly recorder: UsageRecorder;
  readonly ledger: UsageLedger;
  readonly random: Random;
  readonly clocks: Pick<Clocks, "monotonicMs">;
  /** Maximum rows per batch: one batch must fold within the time of a statement. */
  readonly batchRows: number;
  /** Called after each failed attempt. */
  readonly onFailure?: (error: unknown) => void;
  /** Called after each attempt that brought the ledger up to date. */
  readonly onSent?: () => void;
}

/**
 * Sends counts to the ledger, one batch at a time. A sent batch is frozen: the flusher repeats it unchanged, before any
 * other, until the ledger is known to have it.
 */
export class UsageFlusher {
  readonly counters = { batches: 0, rows: 0 };
  readonly #options: UsageFlusherOptions;
  #epoch: string;
  #seq = 0;
  #frozen: UsageBatch | undefined;
  #running: Promise<void> | undefined;
  #flushedMs: number;

  constructor(options: UsageFlusherOptions) {
    this.#options = options;
    this.#epoch = newEpoch(options.random);
    this.#flushedMs = options.clocks.monotonicMs();
  }

  /** Milliseconds since the ledger last had all counts. */
  get lagMs(): number {
    const { clocks, recorder } = this.#options;
    return this.#frozen === undefined && recorder.size === 0 ? 0 : clocks.monotonicMs() - this.#flushedMs;
  }

  /** Whether the ledger has all counts. */
  get isEmpty(): boolean {
    return this.#frozen === undefined && this.#options.recorder.size === 0;
  }

  /** Sends the pending counts. Never rejects, and never runs twice at once. */
  flush(): Promise<void> {
    this.#running ??= this.#send().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #send(): Promise<void> {
    const { recorder, clocks, onFailure, onSent } = this.#options;
    const began = clocks.monotonicMs();
    let left = recorder.size;
    try {
      while (this.#frozen !== undefined || left > 0) {
        if (this.#frozen === undefined) {
          this.#frozen = this.#freeze();
          left -= this.#frozen.deltas.length;
        }
        await this.#deliver(this.#frozen);
      }
      this.#flushedMs = began;
      onSent?.();
    } catch (error) {
      onFailure?.(error);
    }
  }

  #freeze(): UsageBatch {
    this.#seq += 1;
    return { epoch: this.#epoch, seq: this.#seq, deltas: this.#options.recorder.take(this.#options.batchRows) };
  }

  async #deliver(batch: UsageBatch): Promise<void> {
    const { ledger, recorder, random } = this.#options;
    const appended = await ledger.append(batch);
    if (appended === "full") throw new Error("the ledger takes no other source now; the batch will be sent again");
    if (appended === "gap") {
      // The ledger has forgotten the last batches of this source, including this one: begin as another source.
      this.#epoch = newEpoch(random);
      this.#seq = 1;
      this.#frozen = { epoch: this.#epoch, seq: 1, deltas: batch.deltas };
      return;
    }
    this.#frozen = undefined;
    recorder.release(batch.deltas);
    this.counters.batches += 1;
    this.counters.rows += batch.deltas.length;
  }
}

function newEpoch(random: Random): string {
  return Buffer.from(random(16)).toString("hex");
}
