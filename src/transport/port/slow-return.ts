import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { networkOf } from "../../verify/network-of.ts";

export interface SlowReturnOptions {
  /** Milliseconds that a new connection waits, for as long after the flood; 0: none waits. */
  readonly waitMs: number;
  /** Whether the address has connections that behave. Clients of a whole network may share an address. */
  readonly hasBehaving: (address: string) => boolean;
}

/**
 * Makes the next connections wait from where one was cut off. Without it, a client that floods comes back at once, and
 * does its damage on each connection for as long as it takes to see it. Where the address also has connections that
 * behave, none waits.
 */
export class SlowReturn {
  readonly #options: SlowReturnOptions;
  readonly #addresses = new Map<string, NodeJS.Timeout>();

  constructor(options: SlowReturnOptions) {
    this.#options = options;
  }

  /** A connection from there was cut off for a flood. */
  note(address: string): void {
    const { waitMs } = this.#options;
    if (waitMs === 0) return;
    clearTimeout(this.#addresses.get(address));
    const forget = setTimeout(() => this.#addresses.delete(address), waitMs);
    this.#addresses.set(address, forget.unref());
  }

  /** Node (26) reads 64 KiB of it meanwhile, and nothing looks at them. Undefined if it need not wait. */
  wait({ remoteAddress }: Socket): Promise<void> | undefined {
    const { waitMs, hasBehaving } = this.#options;
    const address = networkOf(remoteAddress ?? "");
    if (!this.#addresses.has(address)) return undefined;
    return hasBehaving(address) ? undefined : sleep(waitMs, undefined, { ref: false });
  }
}
