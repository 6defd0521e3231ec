import { hash } from "node:crypto";
import type { CachedSecret, ReadStart } from "../keys/cached-secret.ts";
import type { Change } from "../keys/change.ts";
import type { Random } from "../system/clocks.ts";
import { type Clocks, type Moment, readMoment } from "../system/clocks.ts";
import { Fills, type FillToken } from "./fills.ts";
import type { Lease } from "./lease.ts";
import { Sieve } from "./sieve.ts";

export interface SecretCacheOptions {
  readonly lease: Lease;
  readonly clocks: Clocks;
  readonly random: Random;
  /** Maximum number of secrets. */
  readonly capacity: number;
  /** Milliseconds after which a secret is read again in any case. */
  readonly maxAgeMs: number;
}

/** A read that may be cached: its cache key, and its start by the clocks and in the order of changes. */
export interface Fill {
  readonly place: string;
  readonly start: ReadStart;
  readonly token: FillToken;
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
  readonly #secrets: Sieve<CachedSecret<About>>;
  /** The slots of a key. Nearly every key has one secret; a list per key would take as much memory as its secret. */
  readonly #ofKey = new Map<string, number | readonly number[]>();

  constructor(options: SecretCacheOptions) {
    this.#options = options;
    this.#salt = Buffer.from(options.random(16)).toString("hex");
    this.#born = readMoment(options.clocks);
    this.#secrets = new Sieve(options.capacity, ({ keyId }, slot) => this.#unlist(keyId, slot));
  }

  get size(): number {
    return this.#secrets.size;
  }

  placeOf(secret: string): string {
    return hash("sha256", this.#salt + secret, "latin1");
  }

  /**
   * The secret, if the cache may answer from it now.
   *
   * @param now read in this turn, after the request arrived (docs/protocol/revocation.md#r2)
   */
  find(place: string, now: Moment = readMoment(this.#options.clocks)): CachedSecret<About> | undefined {
    const { lease, maxAgeMs } = this.#options;
    const known = lease.isLive(now) ? this.#secrets.get(place) : undefined;
    if (known === undefined || this.#leftMs(known, maxAgeMs, now) <= 0) {
      this.counters.misses += 1;
      return undefined;
    }
    this.counters.hits += 1;
    return known;
  }

  /** The secret as of before the lease ended. The revocation set must confirm it. */
  findUnleased(place: string): CachedSecret<About> | undefined {
    const known = this.#secrets.get(place);
    return known === undefined || this.hasEnded(known) ? undefined : known;
  }

  /** Call it before the read begins. */
  beginFill(place: string): Fill {
    const since = readMoment(this.#options.clocks);
    const start = {
      sinceMonotonicMs: Math.floor(since.monotonicMs - this.#born.monotonicMs),
      sinceWallMs: Math.floor(since.wallMs - this.#born.wallMs),
    };
    return { place, start, token: this.#fills.begin(this.#options.lease.isLive(since)) };
  }

  /** Whether the read may answer a request that begins now (docs/protocol/revocation.md#r20). */
  mayJoin({ token }: Fill): boolean {
    return this.#fills.isUntouched(token) && this.#options.lease.isLive();
  }

  /**
   * Whether the secret may have ended since it was read: callers that joined the read must not get an answer from before
   * its end.
   */
  hasEnded(known: CachedSecret<About>): boolean {
    return this.#leftMs(known, known.lastsMs, readMoment(this.#options.clocks)) <= 0;
  }

  /** Milliseconds for which the secret may still be answered from; 0 if it is not cached or may not be used now. */
  leftMs(known: CachedSecret<About>): number {
    const { lease, clocks, maxAgeMs } = this.#options;
    const now = readMoment(clocks);
    const isKept = lease.isLive(now) && this.#slotsOf(known.keyId).some((slot) => this.#secrets.at(slot) === known);
    return isKept ? Math.max(0, this.#leftMs(known, maxAgeMs, now)) : 0;
  }

  /** Caches the result of a read, unless a change may have made it stale. */
  keep({ place, token }: Fill, read: CachedSecret<About>): CachedSecret<About> {
    const { keyId } = read;
    if (!this.#fills.mayKeep(token, keyId)) {
      this.counters.discardedFills += 1;
      return read;
    }
    const slot = this.#secrets.set(place, read);
    const others = this.#slotsOf(keyId);
    this.#ofKey.set(keyId, others.length === 0 ? slot : [slot, ...others]);
    return read;
  }

  /** Drops the keys of a change, and the reads that may precede it. */
  apply(keyIds: Change["keyIds"]): void {
    if (keyIds === "all") {
      this.clear();
      return;
    }
    this.#fills.note(keyIds);
    for (const keyId of keyIds) for (const slot of this.#slotsOf(keyId)) this.#secrets.delete(slot);
  }

  /** Drops all secrets, and forbids caching the reads that are under way. */
  clear(): void {
    this.#fills.cancel();
    this.#secrets.clear();
    this.#ofKey.clear();
  }

  /** Milliseconds until the secret ends or is `maxAgeMs` old, by the clock that shows less (docs/protocol/revocation.md#r11). */
  #leftMs({ sinceMonotonicMs, sinceWallMs, lastsMs }: CachedSecret<About>, maxAgeMs: number, now: Moment): number {
    const monotonicMs = now.monotonicMs - this.#born.monotonicMs - sinceMonotonicMs;
    const wallMs = now.wallMs - this.#born.wallMs - sinceWallMs;
    return Math.min(maxAgeMs, lastsMs) - Math.max(monotonicMs, wallMs);
  }

  #slotsOf(keyId: string): readonly number[] {
    const slots = this.#ofKey.get(keyId) ?? [];
    return typeof slots === "number" ? [slots] : slots;
  }

  #unlist(keyId: string, slot: number): void {
    const rest = this.#slotsOf(keyId).filter((other) => other !== slot);
    const [only] = rest;
    if (only === undefined) this.#ofKey.delete(keyId);
    else this.#ofKey.set(keyId, rest.length === 1 ? only : rest);
  }
}
