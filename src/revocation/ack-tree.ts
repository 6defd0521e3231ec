/** Somebody who leases from this verifier. */
export interface Child {
  /** It has applied every change up to here. */
  readonly ackedRevision: number;
  /** Whether the last lease that it was granted may still run; closed or not. */
  isLeased(): boolean;
}

/** What a verifier may acknowledge: the least of what it has applied and of what everybody who leases from it has. */
export class AckTree {
  readonly #children = new Set<Child>();

  /** Counts from the turn in which it is called; call it before anything is granted or answered. */
  add(child: Child): void {
    this.#children.add(child);
  }

  get isLeaf(): boolean {
    this.#forgetEnded();
    return this.#children.size === 0;
  }

  ackedRevision(appliedRevision: number): number {
    this.#forgetEnded();
    let least = appliedRevision;
    for (const child of this.#children) least = Math.min(least, child.ackedRevision);
    return least;
  }

  #forgetEnded(): void {
    for (const child of this.#children) if (!child.isLeased()) this.#children.delete(child);
  }
}
