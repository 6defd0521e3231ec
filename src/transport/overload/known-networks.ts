import { LRUCache } from "lru-cache";
import { networkOf } from "../../verify/network-of.ts";

/** Networks that are remembered. */
const MOST = 10_000;
/** Milliseconds that a network counts as known after its last good credential. */
const KNOWN_MS = 60_000;
/** Milliseconds in which further credentials of one address are not noted. */
const NOTED_MS = 10_000;

/** The networks from which a good credential came in the last minute. */
export class KnownNetworks {
  readonly #networks: LRUCache<string, true>;
  /** Keeps the cost of `note` at one look-up for each call. */
  readonly #addresses: LRUCache<string, true>;

  constructor(monotonicMs: () => number) {
    const clock = { perf: { now: monotonicMs }, ttlResolution: 0 };
    this.#networks = new LRUCache({ max: MOST, ttl: KNOWN_MS, ...clock });
    this.#addresses = new LRUCache({ max: MOST, ttl: NOTED_MS, ...clock });
  }

  /** Notes that a good credential came from the address. */
  note(address: string): void {
    if (this.#addresses.has(address)) return;
    this.#addresses.set(address, true);
    this.#networks.set(networkOf(address), true);
  }

  /** Takes a network as `networkOf` gives it. */
  has(network: string): boolean {
    return this.#networks.has(network);
  }
}
