import type { Change } from "../keys/change.ts";

/** Changes of these keys, from the revision after `after` up to `revision`. */
export interface Span extends Pick<Change, "revision" | "keyIds"> {
  readonly after: number;
}

/** A notification that a child has not acknowledged. It withholds the revisions after `after`, up to `revision`. */
export interface PendingChange extends Pick<Span, "after" | "revision"> {
  /** Position among the notifications of this child. */
  readonly sequence: number;
  /**
   * The end of the lease that the child held when it was notified. A later lease is granted after the notification, and
   * the child uses that lease only after it has received the notification.
   */
  readonly untilMs: number;
  readonly notifiedMs: number;
}

/** A notification that a child had not acknowledged when its lease ended. */
export interface ExpiredChange extends Pick<Span, "after" | "revision"> {
  readonly child: Child;
}

/** A verifier that leases from this verifier. */
export interface Child {
  /** Sends the changes of keys that the child has looked up. */
  notify(span: Span): void;
  /** Asks the child to drop its whole cache. */
  reset(): void;
  /** Moves notifications whose lease has ended from pending to expired. */
  noticeExpired(): void;
  /** Whether a granted lease may still run. The stream may be closed already. */
  isLeased(): boolean;
  /** Whether the stream has ended. */
  readonly isClosed: boolean;
}

/** The children of a verifier and the notifications that they have not acknowledged. */
export class ChildLeases {
  /** Called by a child after it has acknowledged notifications, or has given its lease back. */
  readonly onAcknowledged: () => void;
  readonly #children = new Set<Child>();
  /** Holds only children with pending notifications, so that an acknowledgement does not visit thousands of others. */
  readonly #pending = new Map<Child, readonly PendingChange[]>();
  #expired: ExpiredChange[] = [];
  #waitedOut = 0;

  constructor(onAcknowledged: () => void) {
    this.onAcknowledged = onAcknowledged;
  }

  /** Counts the child from this turn on. Call it before the child gets a lease or an answer. */
  add(child: Child): void {
    this.#children.add(child);
  }

  get all(): Iterable<Child> {
    return this.#children;
  }

  /** Children with a stream, or with a lease that may still run. */
  get size(): number {
    this.forgetGone();
    return this.#children.size;
  }

  /** Whether a lease of any child may still run. */
  get isLeased(): boolean {
    return [...this.#children].some((child) => child.isLeased());
  }

  /** How often a lease ended before its child had acknowledged every notification, since the process started. */
  get waitedOut(): number {
    return this.#waitedOut;
  }

  /** Children with pending notifications. */
  get pending(): Iterable<Child> {
    return this.#pending.keys();
  }

  countPending(child: Child, nowMs: number): number {
    return this.#pendingOf(child).filter((change) => isLive(change, nowMs)).length;
  }

  markPending(child: Child, change: PendingChange): void {
    this.#pending.set(child, [...this.#pendingOf(child), change]);
  }

  /** Removes the child's notifications up to `sequence`, and returns them. */
  takeAcknowledged(child: Child, sequence: number): readonly PendingChange[] {
    const pending = this.#pendingOf(child);
    const later = pending.filter((change) => change.sequence > sequence);
    this.#keep(child, later);
    return pending.filter((change) => change.sequence <= sequence);
  }

  /** Moves the child's notifications whose lease has ended to the expired ones, and returns them. */
  expire(child: Child, nowMs: number): readonly PendingChange[] {
    const pending = this.#pendingOf(child);
    const expired = pending.filter((change) => !isLive(change, nowMs));
    if (expired.length === 0) return expired;
    const live = pending.filter((change) => isLive(change, nowMs));
    this.#keep(child, live);
    this.#expired.push(...expired.map(({ after, revision }) => ({ child, after, revision })));
    this.#waitedOut += 1;
    return expired;
  }

  /** The notifications that expired since the last call. */
  takeExpired(): readonly ExpiredChange[] {
    const expired = this.#expired;
    this.#expired = [];
    return expired;
  }

  /** The revision up to which this verifier and all children have applied every change. */
  minAcked(appliedRevision: number, nowMs: number): number {
    let least = appliedRevision;
    for (const changes of this.#pending.values())
      for (const change of changes) if (isLive(change, nowMs)) least = Math.min(least, change.after);
    return least;
  }

  /** Whether no child withholds exactly this revision. */
  hasApplied(revision: number, nowMs: number): boolean {
    for (const changes of this.#pending.values())
      if (changes.some((change) => isLive(change, nowMs) && withholds(change, revision))) return false;
    return true;
  }

  /** Removes children whose stream and lease have both ended. */
  forgetGone(): void {
    for (const child of this.#children) {
      if (child.isClosed && !child.isLeased()) this.#children.delete(child);
    }
  }

  #pendingOf(child: Child): readonly PendingChange[] {
    return this.#pending.get(child) ?? [];
  }

  #keep(child: Child, pending: readonly PendingChange[]): void {
    if (pending.length > 0) this.#pending.set(child, pending);
    else this.#pending.delete(child);
  }
}

function isLive({ untilMs }: PendingChange, nowMs: number): boolean {
  return nowMs < untilMs;
}

function withholds({ after, revision: upTo }: PendingChange, revision: number): boolean {
  return after < revision && revision <= upTo;
}
