import type { Clocks } from "../system/clocks.ts";
import type { Lease } from "../verify/lease.ts";
import type { Child, ChildLeases, Span } from "./child-leases.ts";

/** What the holder of an attachment is told, in this order; none may overtake another. */
export interface ChildStream {
  /** A lease that ends with this verifier's own, in `remainingMs` from before it was asked for; 0: none. */
  granted(grant: { readonly nonce: bigint; readonly remainingMs: number; readonly revision: number }): void;
  /** Keys to drop; to be acknowledged by its number, once it is done. */
  changed(change: { readonly sequence: number; readonly keyIds: readonly string[] | "all" }): void;
}

/** The client at the other end of an attachment, for people. */
export interface Agent {
  /** Of the key that it calls with; empty for a user's token. */
  readonly keyId: string;
  readonly owner: string;
  /** Of its stream. */
  readonly address: string;
}

/** That changes waited for an agent. */
export interface AgentDelay {
  readonly agent: Agent;
  /** From when it was told of the oldest of them. */
  readonly heldMs: number;
  /** How the wait ended. */
  readonly ended: "acknowledged late" | "gave its lease back" | "lease ran out";
}

export interface ChildLeaseOptions {
  readonly children: ChildLeases;
  /** This verifier's own: no lease that is granted outlives it. */
  readonly lease: Lease;
  readonly clocks: Clocks;
  readonly appliedRevision: () => number;
  readonly stream: ChildStream;
  readonly agent: Agent;
  /** Milliseconds from which on a wait for the holder is reported; one that its lease ended always is. */
  readonly slowMs: number;
  readonly onDelay: (delay: AgentDelay) => void;
  /** Keys that are remembered as looked up; beyond it the holder is told to drop everything. */
  readonly mostKeys: number;
}

/** Something that the holder was told and has not acknowledged. */
interface Outstanding {
  readonly sequence: number;
  /** The revisions that it was told of: those after `after`, up to `revision`. */
  readonly after: number;
  readonly revision: number;
  /** When the lease ends that it held then: a later one was granted after it was told, and is used after it has heard. */
  readonly untilMs: number;
  readonly toldMs: number;
}

/**
 * A verifier inside an agent, as the node has it whose lease it shares. What it holds is nested in what the node holds:
 * the node acknowledges a change when the holder has, or when the lease is over that it was granted before it was told.
 * It is told of keys that it looked up, and nobody waits for it because of others.
 */
export class ChildLease implements Child {
  readonly #options: ChildLeaseOptions;
  readonly #keys = new Set<string>();
  #outstanding: Outstanding[] = [];
  #sequence = 0;
  /** By the monotonic clock. It may stand still where the wall clock does not: then this lasts longer, never shorter. */
  #leaseEndsMs = Number.NEGATIVE_INFINITY;
  #isClosed = false;

  /** In the turn in which the stream is accepted, and before anything is answered. */
  constructor(options: ChildLeaseOptions) {
    this.#options = options;
    options.children.add(this);
  }

  /** It asks for a lease. What it could not be told is not granted: nobody is to wait for that. */
  grant(nonce: bigint): void {
    if (this.#isClosed) return;
    const { lease, clocks, appliedRevision, stream } = this.#options;
    const remainingMs = lease.remainingMs();
    if (remainingMs > 0) this.#leaseEndsMs = Math.max(this.#leaseEndsMs, clocks.monotonicMs() + remainingMs);
    stream.granted({ nonce, remainingMs, revision: appliedRevision() });
  }

  /** It is about to be answered from what is known of the key: from now on it is told of changes. */
  lookedUp(keyId: string): void {
    if (this.#keys.size >= this.#options.mostKeys && !this.#keys.has(keyId)) this.reset();
    this.#keys.add(keyId);
  }

  /** It has done everything that it was told up to that number. */
  acknowledge(sequence: number): void {
    this.noticeExpired();
    const done = this.#outstanding.filter((told) => told.sequence <= sequence);
    if (done.length === 0) return;
    this.#outstanding = this.#outstanding.filter((told) => told.sequence > sequence);
    this.#report(done, "acknowledged late");
    this.#options.children.onAcknowledged(this);
  }

  /** It answers nothing from memory any more, and is told nothing: a lease that it asked for before may be under way. */
  giveBack(): void {
    this.noticeExpired();
    this.#isClosed = true;
    this.#leaseEndsMs = Number.NEGATIVE_INFINITY;
    this.#report(this.#outstanding, "gave its lease back");
    this.#outstanding = [];
    this.#options.children.onAcknowledged(this);
  }

  /** The stream is gone; the lease may run on. */
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

  /** Until it is acknowledged nothing else is either: what it still keeps is not known any more. */
  reset(): void {
    this.#keys.clear();
    this.#send("all", { after: 0, revision: Number.POSITIVE_INFINITY });
  }

  ackedRevision(): number {
    return this.#live().reduce((least, { after }) => Math.min(least, after), Number.POSITIVE_INFINITY);
  }

  hasApplied(revision: number): boolean {
    return this.#live().every((told) => revision <= told.after || revision > told.revision);
  }

  noticeExpired(): void {
    const live = this.#live();
    if (live.length === this.#outstanding.length) return;
    const expired = this.#outstanding.filter((told) => !live.includes(told));
    this.#outstanding = live;
    this.#options.children.expired(expired.map(({ after, revision }) => ({ child: this, after, revision })));
    this.#report(expired, "lease ran out");
  }

  isLeased(): boolean {
    return this.#options.clocks.monotonicMs() < this.#leaseEndsMs;
  }

  /** Changes that it was told of and has not acknowledged. */
  get pendingChanges(): number {
    return this.#live().length;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  #send(keyIds: readonly string[] | "all", span: Pick<Outstanding, "after" | "revision">): void {
    this.#sequence += 1;
    this.noticeExpired();
    if (this.isLeased()) {
      const [toldMs, untilMs] = [this.#options.clocks.monotonicMs(), this.#leaseEndsMs];
      this.#outstanding.push({ ...span, sequence: this.#sequence, untilMs, toldMs });
      this.#options.children.markPending(this);
    }
    if (!this.#isClosed) this.#options.stream.changed({ sequence: this.#sequence, keyIds });
  }

  #concerned(keyIds: readonly string[]): readonly string[] {
    if (keyIds.length <= this.#keys.size) return keyIds.filter((keyId) => this.#keys.has(keyId));
    const changed = new Set(keyIds);
    return [...this.#keys].filter((keyId) => changed.has(keyId));
  }

  #live(): Outstanding[] {
    const nowMs = this.#options.clocks.monotonicMs();
    return this.#outstanding.filter(({ untilMs }) => nowMs < untilMs);
  }

  #report(waits: readonly Outstanding[], ended: AgentDelay["ended"]): void {
    const { clocks, agent, slowMs, onDelay } = this.#options;
    const [oldest] = waits;
    if (oldest === undefined) return;
    const heldMs = Math.min(clocks.monotonicMs(), oldest.untilMs) - oldest.toldMs;
    if (heldMs >= slowMs || ended === "lease ran out") onDelay({ agent, heldMs, ended });
  }
}
