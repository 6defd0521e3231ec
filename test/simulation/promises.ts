/** What a change saw of its key when it was committed; it promises only what nothing has undone by the answer. */
export interface Committed {
  readonly opened: number;
  readonly era: number;
}

/** Watches P1: from when a change that narrows was answered, nothing that begins afterwards is answered with VALID. */
export class Promises {
  violation: string | undefined;
  readonly #deadFrom = new Map<string, number>();
  readonly #opened = new Map<string, number>();
  #era = 0;

  /** Call it in the statement that narrows. */
  committed(keyId: string): Committed {
    return { opened: this.#opened.get(keyId) ?? 0, era: this.#era };
  }

  /** The change was answered with OK; `name` is a key, or one secret of it, and from when it is dead. */
  made(committed: Committed, promise: { readonly keyId: string; readonly name: string; readonly from: number }): void {
    const { opened, era } = this.committed(promise.keyId);
    const isReversible = promise.name.endsWith(":disable");
    if (era !== committed.era || (isReversible && opened !== committed.opened)) return;
    const known = this.#deadFrom.get(promise.name) ?? Number.POSITIVE_INFINITY;
    this.#deadFrom.set(promise.name, Math.min(known, promise.from));
  }

  /** Call it in the statement that enables. */
  opened(keyId: string): void {
    this.#opened.set(keyId, (this.#opened.get(keyId) ?? 0) + 1);
    this.#deadFrom.delete(`${keyId}:disable`);
  }

  /** A backup was restored: what was promised before is void. */
  forget(): void {
    this.#era += 1;
    this.#deadFrom.clear();
  }

  /** A call that began at `invoked` has just been answered with VALID. */
  judge(secret: { readonly keyId: string; readonly version: number }, invoked: number, freshness: string): void {
    const { keyId, version } = secret;
    for (const name of [`${keyId}:revoke`, `${keyId}:disable`, `${keyId}#${version}`]) {
      const from = this.#deadFrom.get(name);
      if (from === undefined || invoked <= from + 0.001) continue;
      this.violation ??= `${name} is VALID (${freshness}) for a call of ${invoked.toFixed(1)}, promised dead from ${from.toFixed(1)}`;
    }
  }

  /** P1-live: the database answers, and still a change was not answered by then. */
  late(name: string, afterMs: number): void {
    this.violation ??= `${name} is LATE: not answered ${afterMs.toFixed(1)} ms after its commit`;
  }
}
