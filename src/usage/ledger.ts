import type { UsageBatch } from "../keys/usage-delta.ts";

/**
 * What became of a batch: `taken` or `known` by now; or there is a `gap`: the ledger lacks batches that it had taken,
 * as after the restore of a backup; or it is `full`: the agent's calling key has too many sources already.
 */
export type Appended = "taken" | "known" | "gap" | "full";

/** Where batches go, once each. Open to any source: server nodes, workers, verifiers inside agents. */
export interface UsageLedger {
  /** Rejects if it is not known what became of the batch: send the same again. */
  append(batch: UsageBatch): Promise<Appended>;
}
