import type { Ack, Change } from "../keys/change.ts";
import type { ChangeBus } from "./change-bus.ts";

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
