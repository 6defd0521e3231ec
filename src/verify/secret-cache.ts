import { hash } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { Change } from "../keys/change.ts";
import type { FoundSecret } from "../keys/found-secret.ts";
import type { Random } from "../keys/random.ts";
import { endOfSecret, isLive } from "../keys/state.ts";
import { type Clocks, type Moment, readMoment } from "./clocks.ts";
import { Fills, type FillToken } from "./fills.ts";
import type { Lease } from "./lease.ts";

export interface SecretCacheOptions {
  readonly lease: Lease;
  readonly clocks: Clocks;
  readonly random: Random;
  /** Secrets kept at most; the least recently used go first. */
  readonly capacity: number;
  /** Milliseconds after which an entry is read again whatever it says. */
  readonly maxAgeMs: number;
  /** ε: by how much the rates of two clocks may differ. */
  readonly clockRateError: number;
}

/** A read that may be kept: where it belongs, when it began, by the clocks and in the order of changes. */
export interface Fill {
  readonly place: string;
  readonly since: Moment;
  readonly token: FillToken;
}

/** Ready to answer. `found.now` may stand for the present until the entry is over: nothing that it tells changes before. */
interface Entry {
  readonly found: FoundSecret;
  readonly since: Moment;
  /** Milliseconds from `since` until the entry is to be read again, and until the secret itself ends. */
  readonly freshMs: number;
  readonly lastsMs: number;
}

/**
 * What was read of secrets, to be answered from while the lease is live. Holds no secret: a place is SHA-256 over a
 * salt of this process and the secret.
 */
export class SecretCache {
  readonly counters = { hits: 0, misses: 0, discardedFills: 0 };
  readonly #options: SecretCacheOptions;
  readonly #salt: string;
  readonly #fills = new Fills();
  readonly #entries: LRUCache<string, Entry>;
  readonly #placesOfKey = new Map<string, Set<string>>();

  constructor(options: SecretCacheOptions) {
    this.#options = options;
    this.#salt = Buffer.from(options.random(16)).toString("hex");
    this.#entries = new LRUCache({ max: options.capacity, dispose: (entry, place) => this.#unlist(entry, place) });
  }

  get size(): number {
    return this.#entries.size;
  }

  placeOf(secret: string): string {
    return hash("sha256", this.#salt + secret, "base64");
  }

  /** What is known of the secret, if it may be answered from at this moment. */
  find(place: string): FoundSecret | undefined {
    const entry = this.#options.lease.isLive() ? this.#entries.get(place) : undefined;
    if (entry === undefined || this.#ageSince(entry.since) >= entry.freshMs) {
      this.counters.misses += 1;
      return undefined;
    }
    this.counters.hits += 1;
    return entry.found;
  }

  /** What was known of the secret when the lease ended; whether it still holds is for the revocation set to say. */
  findUnleased(place: string): FoundSecret | undefined {
    const entry = this.#entries.get(place);
    return entry === undefined || this.#ageSince(entry.since) >= entry.lastsMs ? undefined : entry.found;
  }

  /** Call it before the read begins. */
  beginFill(place: string): Fill {
    const leased = this.#options.lease.isLive();
    return { place, since: readMoment(this.#options.clocks), token: this.#fills.begin(leased) };
  }

  /** Whether a request that begins now may be answered by the read (rule R20). */
  mayJoin({ token }: Fill): boolean {
    return this.#fills.isUntouched(token) && this.#options.lease.isLive();
  }

  /** Whether the secret may have ended since it was read: who joined the read meanwhile must not be told of a life before. */
  hasEnded({ since }: Fill, found: FoundSecret): boolean {
    return this.#ageSince(since) >= this.#spanUntilEnd(found);
  }

  /** Keeps what was read, unless it may be old already. */
  keep(fill: Fill, found: FoundSecret): void {
    if (!this.#fills.mayKeep(fill.token, found.key.id)) {
      this.counters.discardedFills += 1;
      return;
    }
    const { maxAgeMs } = this.#options;
    const lastsMs = this.#spanUntilEnd(found);
    this.#entries.set(fill.place, { found, since: fill.since, freshMs: Math.min(maxAgeMs, lastsMs), lastsMs });
    const places = this.#placesOfKey.get(found.key.id);
    if (places === undefined) this.#placesOfKey.set(found.key.id, new Set([fill.place]));
    else places.add(fill.place);
  }

  /** Forgets the keys that a change names, and reads that may have been before it. */
  apply(keyIds: Change["keyIds"]): void {
    if (keyIds === "all") {
      this.clear();
      return;
    }
    this.#fills.note(keyIds);
    for (const keyId of keyIds) for (const place of this.#placesOfKey.get(keyId) ?? []) this.#entries.delete(place);
  }

  /** Forgets everything, and every read that is under way. */
  clear(): void {
    this.#fills.cancel();
    this.#entries.clear();
  }

  #ageSince(since: Moment): number {
    const { clocks } = this.#options;
    return Math.max(clocks.monotonicMs() - since.monotonicMs, clocks.wallMs() - since.wallMs);
  }

  /** The end was told by the database's clock, and is waited for by this process': early, never late. */
  #spanUntilEnd({ secret, now }: FoundSecret): number {
    if (!isLive(secret, now)) return Number.POSITIVE_INFINITY;
    const { clockRateError } = this.#options;
    return ((endOfSecret(secret).getTime() - now.getTime()) * (1 - clockRateError)) / (1 + clockRateError);
  }

  #unlist({ found }: Entry, place: string): void {
    const places = this.#placesOfKey.get(found.key.id);
    places?.delete(place);
    if (places?.size === 0) this.#placesOfKey.delete(found.key.id);
  }
}
