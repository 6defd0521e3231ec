import type { Change } from "../keys/change.ts";

/** Changes of these keys, from the revision after `after` up to `revision`. */
export interface Span extends Pick<Change, "revision" | "keyIds"> {
  readonly after: number;
}

/** A child whose lease ended before it acknowledged revisions: those after `after`, up to `revision`. */
export interface Expired extends Pick<Span, "after" | "revision"> {
  readonly child: Child;
}

/** Somebody who leases from this verifier. */
export interface Child {
  /** Tells it of changes that it may be concerned with. */
  notify(span: Span): void;
  /** Tells it to drop everything. */
  reset(): void;
  /** Everything up to here it has applied, or cannot be answering from before; infinite if nothing is outstanding. */
  ackedRevision(): number;
  /** The same of one revision. */
  hasApplied(revision: number): boolean;
  /** Tells the tree of what it did not acknowledge before its lease had ended. */
  noticeExpired(): void;
  /** Whether a lease that it was granted may still run; closed or not. */
  isLeased(): boolean;
  /** Whether its stream is gone. */
  readonly isClosed: boolean;
}

/** Everybody who leases from this verifier: what is told to all, and what may be acknowledged for all. */
export class ChildLeases {
  readonly #children = new Set<Child>();
  /** Those with something outstanding: of thousands that are told at once, each acknowledgement looks at one. */
  readonly #behind = new Set<Child>();
  readonly #onProgress: () => void;
  #expired: Expired[] = [];
  #waitedOut = 0;

  /** `onProgress` is told that a child has applied something, or is gone. */
  constructor(onProgress: () => void) {
    this.#onProgress = onProgress;
  }

  /** Counts from the turn in which it is called; call it before anything is granted or answered. */
  add(child: Child): void {
    this.#children.add(child);
  }

  /** How many are attached, or may still hold a lease. */
  get size(): number {
    this.#forgetGone();
    return this.#children.size;
  }

  /** Whether a lease that was granted to any of them may still run. */
  get isLeased(): boolean {
    return [...this.#children].some((child) => child.isLeased());
  }

  /** How often the lease of a child ended before it had acknowledged all that it was told, since the process began. */
  get waitedOut(): number {
    return this.#waitedOut;
  }

  notify(span: Span): void {
    for (const child of this.#children) child.notify(span);
  }

  reset(): void {
    for (const child of this.#children) child.reset();
  }

  /** It was told of something. */
  markPending(child: Child): void {
    this.#behind.add(child);
  }

  /** It has applied something, and may have nothing outstanding. */
  onAcknowledged(child: Child): void {
    if (child.ackedRevision() === Number.POSITIVE_INFINITY) this.#behind.delete(child);
    this.#onProgress();
  }

  /** What may be acknowledged as applied by all: the least of this verifier's own and of what each child has. */
  ackedRevision(appliedRevision: number): number {
    this.#forgetGone();
    let least = appliedRevision;
    for (const child of this.#behind) least = Math.min(least, child.ackedRevision());
    return least;
  }

  /** Whether exactly this revision may be. */
  hasApplied(revision: number): boolean {
    for (const child of this.#behind) if (!child.hasApplied(revision)) return false;
    return true;
  }

  /** The lease of a child has ended before it acknowledged these. */
  expired(expired: readonly Expired[]): void {
    this.#expired.push(...expired);
    this.#waitedOut += 1;
  }

  /** What children did not acknowledge before their leases had ended, since this was last asked. */
  takeExpired(): readonly Expired[] {
    for (const child of this.#behind) {
      child.noticeExpired();
      if (child.ackedRevision() === Number.POSITIVE_INFINITY) this.#behind.delete(child);
    }
    const expired = this.#expired;
    this.#expired = [];
    return expired;
  }

  #forgetGone(): void {
    for (const child of this.#children) {
      if (child.isClosed && !child.isLeased()) {
        child.noticeExpired();
        this.#children.delete(child);
        this.#behind.delete(child);
      }
    }
  }
}
