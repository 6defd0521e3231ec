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
 * Tells whether what was read may still be kept (rule R3): read old, change applied, stored old would be stale for
 * ever. Which key a pending read is about is known only once it is done, so changes are remembered, not reads marked.
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

  /** Nothing that has begun may be kept (rule R5). */
  cancel(): void {
    this.#generation += 1;
  }

  /** Whether nothing at all was applied since, so that another request may wait for the same read (rule R20). */
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
