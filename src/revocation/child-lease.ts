import type { Clocks } from "../system/clocks.ts";
import type { Lease } from "../verify/lease.ts";
import type { Child, ChildLeases, PendingChange, Span } from "./child-leases.ts";

/** Sends messages to the agent. Messages arrive in the order of the calls. */
export interface ChildStream {
  /**
   * Sends a lease that ends with the node's own: `remainingMs` counts from before the agent sent its request. 0 grants
   * none.
   */
  granted(grant: { readonly nonce: bigint; readonly remainingMs: number; readonly revision: number }): void;
  /** Sends keys to drop. The agent acknowledges `sequence` after it has dropped them. */
  changed(change: { readonly sequence: number; readonly keyIds: readonly string[] | "all" }): void;
}

/** The client at the other end of the stream, for operators. */
export interface Agent {
  /** The key that the agent calls with; empty for a user token. */
  readonly keyId: string;
  readonly owner: string;
  /** The peer address of the stream. */
  readonly address: string;
}

/** Reports that changes waited for an agent. */
export interface AgentDelay {
  readonly agent: Agent;
  /** Milliseconds since the node sent the oldest of the changes. */
  readonly heldMs: number;
  /** How the wait ended. */
  readonly ended: "acknowledged late" | "gave its lease back" | "lease ran out";
}

export interface ChildLeaseOptions {
  readonly children: ChildLeases;
  /** The node's own lease. No child lease outlives it. */
  readonly lease: Lease;
  readonly clocks: Clocks;
  readonly appliedRevision: () => number;
  readonly stream: ChildStream;
  readonly agent: Agent;
  /** Reports a wait of at least this many milliseconds. A wait that ended with the lease is always reported. */
  readonly slowMs: number;
  readonly onDelay: (delay: AgentDelay) => void;
  /** Looked-up keys that the node remembers for this agent. Beyond them, the agent drops its whole cache. */
  readonly mostKeys: number;
}

/**
 * The lease that a node grants to the verifier inside an agent, nested in its own lease. The node acknowledges a change
 * when the agent has acknowledged it, or when the lease that the agent held at the notification is over. The agent gets
 * only changes of keys that it has looked up; other changes do not wait for it.
 *
 * - open and leased: notifications are sent, and withhold their revisions until they are acknowledged or expire;
 * - open without a lease: notifications are sent, and withhold nothing;
 * - closed and leased: notifications cannot be sent, and withhold their revisions until the lease ends;
 * - closed without a lease: `ChildLeases` forgets the child.
 */
export class ChildLease implements Child {
  readonly #options: ChildLeaseOptions;
  readonly #keys = new Set<string>();
  #sequence = 0;
  /** By the monotonic clock. If that clock stands still during a suspension, the lease counts longer, never shorter. */
  #leaseEndsMs = Number.NEGATIVE_INFINITY;
  #isClosed = false;

  /** Joins the node's children. Construct it in the turn in which the stream is accepted, before any answer. */
  constructor(options: ChildLeaseOptions) {
    this.#options = options;
    options.children.add(this);
  }

  /** Answers a request for a lease. A closed stream gets none: no revocation may wait for an undelivered lease. */
  grant(nonce: bigint): void {
    if (this.#isClosed) return;
    const { lease, clocks, appliedRevision, stream } = this.#options;
    const remainingMs = lease.remainingMs();
    if (remainingMs > 0) this.#leaseEndsMs = Math.max(this.#leaseEndsMs, clocks.monotonicMs() + remainingMs);
    stream.granted({ nonce, remainingMs, revision: appliedRevision() });
  }

  /** Remembers a key before the agent gets an entry of it. From now on the agent is notified of its changes. */
  lookedUp(keyId: string): void {
    if (this.#keys.size >= this.#options.mostKeys && !this.#keys.has(keyId)) this.reset();
    this.#keys.add(keyId);
  }

  /** The agent has applied every notification up to `sequence`. */
  acknowledge(sequence: number): void {
    const { children } = this.#options;
    this.noticeExpired();
    const done = children.takeAcknowledged(this, sequence);
    if (done.length === 0) return;
    this.#report(done, "acknowledged late");
    children.onAcknowledged();
  }

  /**
   * The agent no longer answers from memory. The stream counts as closed, because an earlier request for a lease may
   * still arrive on it.
   */
  giveBack(): void {
    const { children } = this.#options;
    this.noticeExpired();
    this.#isClosed = true;
    this.#leaseEndsMs = Number.NEGATIVE_INFINITY;
    this.#report(children.takeAcknowledged(this, this.#sequence), "gave its lease back");
    children.onAcknowledged();
  }

  /** The stream has ended; the lease may still run. */
  close(): void {
    this.#isClosed = true;
  }

  notify({ after, revision, keyIds }: Span): void {
    if (keyIds === "all") {
      this.reset();
      return;
    }
    const concerned = this.#concerned(keyIds);
    if (concerned.length > 0) this.#send(concerned, { after, revision });
  }

  /** Withholds every revision until the agent acknowledges, because the node no longer knows which keys it caches. */
  reset(): void {
    this.#keys.clear();
    this.#send("all", { after: 0, revision: Number.POSITIVE_INFINITY });
  }

  noticeExpired(): void {
    const { children, clocks } = this.#options;
    this.#report(children.expire(this, clocks.monotonicMs()), "lease ran out");
  }

  isLeased(): boolean {
    return this.#options.clocks.monotonicMs() < this.#leaseEndsMs;
  }

  /** Notifications that the agent has not acknowledged. */
  get pendingChanges(): number {
    const { children, clocks } = this.#options;
    return children.countPending(this, clocks.monotonicMs());
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  #send(keyIds: readonly string[] | "all", { after, revision }: Pick<Span, "after" | "revision">): void {
    const { children, clocks } = this.#options;
    this.#sequence += 1;
    this.noticeExpired();
    if (this.isLeased()) {
      const [sequence, untilMs, notifiedMs] = [this.#sequence, this.#leaseEndsMs, clocks.monotonicMs()];
      children.markPending(this, { after, revision, sequence, untilMs, notifiedMs });
    }
    if (!this.#isClosed) this.#options.stream.changed({ sequence: this.#sequence, keyIds });
  }

  #concerned(keyIds: readonly string[]): readonly string[] {
    if (keyIds.length <= this.#keys.size) return keyIds.filter((keyId) => this.#keys.has(keyId));
    const changed = new Set(keyIds);
    return [...this.#keys].filter((keyId) => changed.has(keyId));
  }

  #report(waits: readonly PendingChange[], ended: AgentDelay["ended"]): void {
    const { clocks, agent, slowMs, onDelay } = this.#options;
    const [oldest] = waits;
    if (oldest === undefined) return;
    const heldMs = Math.min(clocks.monotonicMs(), oldest.untilMs) - oldest.notifiedMs;
    if (heldMs >= slowMs || ended === "lease ran out") onDelay({ agent, heldMs, ended });
  }
}
