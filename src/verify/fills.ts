/** Maximum number of changes during a fill. A fill that saw more is not cached. */
const RING = 256;

/** The state of changes when a fill began. */
export interface FillToken {
  /** Number of changes applied before. */
  readonly count: number;
  /** Number of times that all entries were dropped before. */
  readonly generation: number;
  /** Whether the lease was live. */
  readonly leased: boolean;
}

/**
 * Decides whether a completed read may still be cached (docs/protocol/revocation.md#r3). Otherwise an old value could be read, a change
 * applied, and the old value stored for good. The key of a pending read is known only at its end; therefore this class
 * remembers changes and does not mark reads.
 */
export class Fills {
  readonly #recent: (readonly string[])[] = [];
  #count = 0;
  #generation = 0;

  begin(leased: boolean): FillToken {
    return { count: this.#count, generation: this.#generation, leased };
  }

  /** Records an applied change of these keys. */
  note(keyIds: readonly string[]): void {
    this.#recent[this.#count % RING] = keyIds;
    this.#count += 1;
  }

  /** Forbids caching the results of all reads that have begun (docs/protocol/revocation.md#r5). */
  cancel(): void {
    this.#generation += 1;
  }

  /** Whether no change was applied since, so that another request may share the read (docs/protocol/revocation.md#r20). */
  isUntouched(token: FillToken): boolean {
    return token.leased && token.generation === this.#generation && token.count === this.#count;
  }

  /** Whether no change since names the key. */
  mayKeep(token: FillToken, keyId: string): boolean {
    if (!token.leased || token.generation !== this.#generation || this.#count - token.count > RING) return false;
    for (let at = token.count; at < this.#count; at += 1) if (this.#recent[at % RING]?.includes(keyId)) return false;
    return true;
  }
}
