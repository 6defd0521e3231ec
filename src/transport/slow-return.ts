import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Makes the next connections wait from where one was cut off. Without it, who floods comes back at once, and has its way
 * with each connection for as long as it takes to see what it does. Others from that address, as behind a balancer that
 * hides them, wait too; their open connections do not.
 */
export class SlowReturn {
  readonly #waitMs: number;
  readonly #addresses = new Map<string, NodeJS.Timeout>();

  constructor(waitMs: number) {
    this.#waitMs = waitMs;
  }

  /** A connection from there was cut off. */
  note(address: string): void {
    if (this.#waitMs === 0) return;
    clearTimeout(this.#addresses.get(address));
    const forget = setTimeout(() => this.#addresses.delete(address), this.#waitMs);
    this.#addresses.set(address, forget.unref());
  }

  /** Node (26) reads 64 KiB of it meanwhile, and nobody looks at them. Undefined if it need not wait. */
  wait({ remoteAddress }: Socket): Promise<void> | undefined {
    if (remoteAddress === undefined || !this.#addresses.has(remoteAddress)) return undefined;
    return sleep(this.#waitMs, undefined, { ref: false });
  }
}
