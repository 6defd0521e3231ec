import type { Timers } from "../system/clocks.ts";
import type { Holder, LeaseRegistry } from "./lease-registry.ts";

/** Somebody who wants to know what the registry says. */
export interface RegistryReader {
  /** Told of every read that began after it was added. */
  see(holders: readonly Holder[]): void;
  /** Told of reads that failed. */
  miss(error: unknown): void;
}

export interface RegistryPollerOptions {
  readonly registry: Pick<LeaseRegistry, "list">;
  readonly timers: Timers;
  /** Milliseconds between two reads. */
  readonly everyMs: number;
}

/** Reads that may be under way at once: those that hang, and one more. */
const MOST_READS = 3;
/** Periods after which a read is taken to hang. */
const PATIENCE = 4;

/** Reads the registry for all who wait, one read at a time unless one hangs, and only while somebody does. */
export class RegistryPoller {
  readonly #options: RegistryPollerOptions;
  readonly #readers = new Set<RegistryReader>();
  #unserved = false;
  #reads = 0;
  /** The read that the next one waits for. */
  #current: object | undefined;
  #pause: { cancel(): void } | undefined;

  constructor(options: RegistryPollerOptions) {
    this.#options = options;
  }

  /**
   * Reads at once, or as soon as the read under way is done: that read began too early for the new reader
   * (docs/protocol/revocation.md#r8).
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
      for (const reader of readers) reader.see(holders);
    } catch (error) {
      for (const reader of readers) reader.miss(error);
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
