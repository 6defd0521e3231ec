import type { UsageBatch } from "../keys/usage-delta.ts";

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
