import type { Ack, Change } from "../keys/change.ts";

/**
 * Carries changes to all verifiers of the cluster, and their acknowledgements to the waiting revokers. The bus makes
 * revocations fast; their correctness does not depend on it. Messages may be lost, late, doubled or reordered, but not
 * forged.
 */
export interface ChangeBus {
  /** Sends a change to every verifier, also to that of this process. Never rejects; resolves once it has tried. */
  push(change: Change): Promise<void>;
  /** Sends an acknowledgement to every revoker, also to that of this process. */
  acknowledge(ack: Ack): void;
  /** Calls `listener` for every change that arrives. The returned function unsubscribes it. */
  onChange(listener: (change: Change) => void): () => void;
  onAck(listener: (ack: Ack) => void): () => void;
  close(): Promise<void>;
}

/** A bus that reaches only its own process, for a server without peers and for a cluster without Redis. */
export class InProcessBus implements ChangeBus {
  readonly #changes = new Set<(change: Change) => void>();
  readonly #acks = new Set<(ack: Ack) => void>();

  async push(change: Change): Promise<void> {
    for (const listener of this.#changes) listener(change);
  }

  acknowledge(ack: Ack): void {
    for (const listener of this.#acks) listener(ack);
  }

  onChange(listener: (change: Change) => void): () => void {
    this.#changes.add(listener);
    return () => this.#changes.delete(listener);
  }

  onAck(listener: (ack: Ack) => void): () => void {
    this.#acks.add(listener);
    return () => this.#acks.delete(listener);
  }

  async close(): Promise<void> {
    this.#changes.clear();
    this.#acks.clear();
  }
}
