import type { Timers } from "../verify/clocks.ts";
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

/** Reads the registry for all who wait, one read at a time, and only while somebody does. */
export class RegistryPoller {
  readonly #options: RegistryPollerOptions;
  readonly #readers = new Set<RegistryReader>();
  #unserved = false;
  #reading = false;
  #pause: { cancel(): void } | undefined;

  constructor(options: RegistryPollerOptions) {
    this.#options = options;
  }

  /** Reads at once, or as soon as the read under way is done: that one began too early for the reader (rule R8). */
  add(reader: RegistryReader): void {
    this.#readers.add(reader);
    this.#unserved = true;
    if (!this.#reading) void this.#read();
  }

  remove(reader: RegistryReader): void {
    this.#readers.delete(reader);
    if (this.#readers.size === 0) this.#pause?.cancel();
  }

  async #read(): Promise<void> {
    this.#reading = true;
    this.#pause?.cancel();
    this.#unserved = false;
    const readers = [...this.#readers];
    try {
      const holders = await this.#options.registry.list();
      for (const reader of readers) reader.see(holders);
    } catch (error) {
      for (const reader of readers) reader.miss(error);
    }
    this.#reading = false;
    if (this.#readers.size === 0) return;
    this.#pause = this.#options.timers.after(this.#unserved ? 0 : this.#options.everyMs, () => void this.#read());
  }
}
