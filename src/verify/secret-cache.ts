import { hash } from "node:crypto";
import type { Change } from "../keys/change.ts";
import type { KnownSecret, ReadySecret } from "../keys/known-secret.ts";
import { type Clocks, type Moment, type Random, readMoment } from "../system/clocks.ts";
import { Fills, type FillToken } from "./fills.ts";
import { Interner } from "./interner.ts";
import type { Lease } from "./lease.ts";
import { Sieve } from "./sieve.ts";

export interface SecretCacheOptions {
  readonly lease: Lease;
  readonly clocks: Clocks;
  readonly random: Random;
  /** Maximum number of secrets. */
  readonly capacity: number;
  /** Milliseconds after which an entry is read again in any case. */
  readonly maxAgeMs: number;
}

/** A read that may be cached: its cache key, and its start by the clocks and in the order of changes. */
export interface Fill {
  readonly place: string;
  readonly since: Moment;
  readonly token: FillToken;
}

/** Longest validity of an entry, 12 days in milliseconds. V8 stores integers below 2^31 without an object. */
const LONGEST_MS = 2 ** 30;

/**
 * A cached secret. Its answer does not change before it expires. Times are whole milliseconds since the creation of the
 * cache, rounded so that the entry ends early.
 */
interface Entry<About> extends KnownSecret<About> {
  readonly place: string;
  readonly sinceMonotonicMs: number;
  readonly sinceWallMs: number;
  /** Milliseconds from `since` until the entry must be read again, and until the secret itself ends. */
  readonly freshMs: number;
  readonly lastsMs: number;
  isUsed: boolean;
}

/**
 * The secrets that verifications read, for answers while the lease is live. Holds no secret: a cache key is SHA-256
 * over a salt of this process and the secret.
 */
export class SecretCache<About = string> {
  readonly counters = { hits: 0, misses: 0, discardedFills: 0 };
  readonly #options: SecretCacheOptions;
  readonly #salt: string;
  readonly #born: Moment;
  readonly #fills = new Fills();
  readonly #lists = new Interner();
  readonly #entries: Sieve<Entry<About>>;
  /** Nearly every key has one secret. A list per key would add a third to the size of an entry. */
  readonly #ofKey = new Map<string, Entry<About> | readonly Entry<About>[]>();

  constructor(options: SecretCacheOptions) {
    this.#options = options;
    this.#salt = Buffer.from(options.random(16)).toString("hex");
    this.#born = readMoment(options.clocks);
    this.#entries = new Sieve(options.capacity, (entry) => this.#unlist(entry));
  }

  get size(): number {
    return this.#entries.size;
  }

  placeOf(secret: string): string {
    return hash("sha256", this.#salt + secret, "latin1");
  }

  /** The entry of the secret, if the cache may answer from it now. */
  find(place: string): KnownSecret<About> | undefined {
    const entry = this.#options.lease.isLive() ? this.#entries.get(place) : undefined;
    if (entry === undefined || this.#ageOf(entry) >= entry.freshMs) {
      this.counters.misses += 1;
      return undefined;
    }
    this.counters.hits += 1;
    return entry;
  }

  /** The entry of the secret from before the lease ended. The revocation set must confirm it. */
  findUnleased(place: string): KnownSecret<About> | undefined {
    const entry = this.#entries.get(place);
    return entry === undefined || this.#ageOf(entry) >= entry.lastsMs ? undefined : entry;
  }

  /** Call it before the read begins. */
  beginFill(place: string): Fill {
    const leased = this.#options.lease.isLive();
    return { place, since: readMoment(this.#options.clocks), token: this.#fills.begin(leased) };
  }

  /** Whether the read may answer a request that begins now (docs/protocol/revocation.md#r20). */
  mayJoin({ token }: Fill): boolean {
    return this.#fills.isUntouched(token) && this.#options.lease.isLive();
  }

  /**
   * Whether the secret may have ended since the read: callers that joined the read must not get an answer from before
   * its end.
   */
  hasEnded({ since }: Fill, known: KnownSecret<About>): boolean {
    return this.#ageSince(since) >= (known as Entry<About>).lastsMs;
  }

  /** Milliseconds for which the entry may still answer; 0 if it is not cached or may not answer now. */
  leftMs(known: KnownSecret<About>): number {
    const entry = known as Entry<About>;
    const isKept = this.#options.lease.isLive() && this.#entries.get(entry.place) === entry;
    return isKept ? Math.max(0, entry.freshMs - this.#ageOf(entry)) : 0;
  }

  /** Caches the result of a read, unless a change may have made it stale. */
  keep(fill: Fill, ready: ReadySecret<About>): KnownSecret<About> {
    const entry = this.#entryOf(fill, ready);
    if (!this.#fills.mayKeep(fill.token, entry.keyId)) {
      this.counters.discardedFills += 1;
      return entry;
    }
    this.#entries.set(entry);
    const others = this.#ofKey.get(entry.keyId);
    this.#ofKey.set(entry.keyId, others === undefined ? entry : [entry].concat(others));
    return entry;
  }

  /** Drops the keys of a change, and the reads that may precede it. */
  apply(keyIds: Change["keyIds"]): void {
    if (keyIds === "all") {
      this.clear();
      return;
    }
    this.#fills.note(keyIds);
    for (const keyId of keyIds) {
      const entries = this.#ofKey.get(keyId);
      if (entries !== undefined) for (const entry of listed(entries)) this.#entries.delete(entry);
    }
  }

  /** Drops all entries, and forbids caching the reads that are under way. */
  clear(): void {
    this.#fills.cancel();
    this.#entries.clear();
    this.#ofKey.clear();
  }

  #entryOf({ place, since }: Fill, ready: ReadySecret<About>): Entry<About> {
    const lastsMs = Math.min(LONGEST_MS, ready.lastsMs);
    return {
      place,
      keyId: ready.keyId,
      owner: ready.owner,
      version: ready.version,
      standing: ready.standing,
      environment: ready.environment,
      scopes: this.#lists.share(ready.scopes),
      allowedCidrs: this.#lists.share(ready.allowedCidrs),
      limits: ready.limits,
      about: ready.about,
      revision: ready.revision,
      counted: undefined,
      isUsed: false,
      sinceMonotonicMs: Math.floor(since.monotonicMs - this.#born.monotonicMs),
      sinceWallMs: Math.floor(since.wallMs - this.#born.wallMs),
      freshMs: Math.floor(Math.min(this.#options.maxAgeMs, lastsMs)),
      lastsMs,
    };
  }

  #ageOf({ sinceMonotonicMs, sinceWallMs }: Entry<About>): number {
    const { clocks } = this.#options;
    const monotonic = clocks.monotonicMs() - this.#born.monotonicMs - sinceMonotonicMs;
    return Math.max(monotonic, clocks.wallMs() - this.#born.wallMs - sinceWallMs);
  }

  #ageSince(since: Moment): number {
    const { clocks } = this.#options;
    return Math.max(clocks.monotonicMs() - since.monotonicMs, clocks.wallMs() - since.wallMs);
  }

  #unlist(entry: Entry<About>): void {
    const rest = listed(this.#ofKey.get(entry.keyId) ?? []).filter((other) => other !== entry);
    const [only] = rest;
    if (only === undefined) this.#ofKey.delete(entry.keyId);
    else this.#ofKey.set(entry.keyId, rest.length === 1 ? only : rest);
  }
}

function listed<About>(entries: Entry<About> | readonly Entry<About>[]): readonly Entry<About>[] {
  return "place" in entries ? [entries] : entries;
}
