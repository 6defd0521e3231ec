/** How many changes back a fill may reach; one that took longer is not kept. */
const RING = 256;

/** When a fill began. */
export interface FillToken {
  /** Changes applied by then. */
  readonly count: number;
  /** Times that everything was dropped by then. */
  readonly generation: number;
  /** Whether the lease held. */
  readonly leased: boolean;
}

/**
 * Tells whether the result of a read may still be cached (docs/protocol/revocation.md#r3): read old, change applied,
 * stored old would be stale for ever. Only the result names its key, so changes are remembered instead of reads marked.
 */
export class Fills {
  readonly #recent: (readonly string[])[] = [];
  #count = 0;
  #generation = 0;

  begin(leased: boolean): FillToken {
    return { count: this.#count, generation: this.#generation, leased };
  }

  /** A change of these keys was applied. */
  note(keyIds: readonly string[]): void {
    this.#recent[this.#count % RING] = keyIds;
    this.#count += 1;
  }

  /** No read that has begun may be cached (docs/protocol/revocation.md#r5). */
  cancel(): void {
    this.#generation += 1;
  }

  /** Whether no change was applied since, so that another request may join (docs/protocol/revocation.md#r20). */
  isUntouched(token: FillToken): boolean {
    return token.leased && token.generation === this.#generation && token.count === this.#count;
  }

  /** Whether nothing that was applied since names the key. */
  mayKeep(token: FillToken, keyId: string): boolean {
    if (!token.leased || token.generation !== this.#generation || this.#count - token.count > RING) return false;
    for (let at = token.count; at < this.#count; at += 1) if (this.#recent[at % RING]?.includes(keyId)) return false;
    return true;
  }
}
