import type { Ack, Change } from "../keys/change.ts";

/**
 * Carries changes to all verifiers of the cluster, and their acknowledgements to whoever waits. It makes revocations
 * fast and is never what makes them true: messages may be lost, late, doubled and reordered, but not forged.
 */
export interface ChangeBus {
  /** Sends to every verifier, this process' own included. Never rejects; resolves when it was sent or given up. */
  push(change: Change): Promise<void>;
  /** Tells whoever waits, in this process too. */
  acknowledge(ack: Ack): void;
  /** Calls `listener` for every change that arrives; returns how to stop. */
  onChange(listener: (change: Change) => void): () => void;
  onAck(listener: (ack: Ack) => void): () => void;
  close(): Promise<void>;
}
