import type { Timers } from "../system/clocks.ts";
import type { Holder, LeaseRegistry } from "./lease-registry.ts";

/** Receives the rows of the registry. */
export interface RegistryReader {
  /** Called with the rows of each read that began after this reader was added. */
  see(holders: readonly Holder[]): void;
  /** Called after each failed read that began after this reader was added. */
  miss(error: unknown): void;
}

export interface RegistryPollerOptions {
  readonly registry: Pick<LeaseRegistry, "list">;
  readonly timers: Timers;
  /** Milliseconds between two reads. */
  readonly everyMs: number;
}

/** The limit of concurrent reads, stalled reads included. */
const MOST_READS = 3;
/** Periods without an answer after which a read counts as stalled. */
const PATIENCE = 4;

/** Reads the registry for all waiting barriers, and only while a barrier waits. Reads overlap only if one stalls. */
export class RegistryPoller {
  readonly #options: RegistryPollerOptions;
  readonly #readers = new Set<RegistryReader>();
  #unserved = false;
  #reads = 0;
  /** The running read that the next read waits for. */
  #current: object | undefined;
  #pause: { cancel(): void } | undefined;

  constructor(options: RegistryPollerOptions) {
    this.#options = options;
  }

  /**
   * Reads at once, or as soon as the running read has ended. The running read may have begun before the commit that the
   * reader waits for, and does not count for it (docs/protocol/revocation.md#r8).
   */
  add(reader: RegistryReader): void {
    this.#readers.add(reader);
    this.#unserved = true;
    if (this.#current === undefined) void this.#read();
  }

  remove(reader: RegistryReader): void {
    this.#readers.delete(reader);
    if (this.#readers.size === 0) this.#pause?.cancel();
  }

  async #read(): Promise<void> {
    const { registry, timers, everyMs } = this.#options;
    const read = {};
    this.#current = read;
    this.#reads += 1;
    this.#pause?.cancel();
    this.#unserved = false;
    const readers = [...this.#readers];
    const patience = timers.after(PATIENCE * everyMs, () => {
      if (this.#reads < MOST_READS) this.#end(read);
    });
    try {
      const holders = await registry.list();
      // A reader that was removed during the read has finished, and must not finish again.
      for (const reader of readers) if (this.#readers.has(reader)) reader.see(holders);
    } catch (error) {
      for (const reader of readers) if (this.#readers.has(reader)) reader.miss(error);
    }
    patience.cancel();
    this.#reads -= 1;
    this.#end(read);
  }

  #end(read: object): void {
    if (this.#current !== read) return;
    this.#current = undefined;
    if (this.#readers.size === 0) return;
    this.#pause = this.#options.timers.after(this.#unserved ? 0 : this.#options.everyMs, () => void this.#read());
  }
}
