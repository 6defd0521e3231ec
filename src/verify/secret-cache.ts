import { hash } from "node:crypto";
import type { Change } from "../keys/change.ts";
import type { FoundSecret } from "../keys/found-secret.ts";
import type { KnownSecret } from "../keys/known-secret.ts";
import type { Random } from "../keys/random.ts";
import { endOfSecret, isLive } from "../keys/state.ts";
import { type Clocks, type Moment, readMoment } from "./clocks.ts";
import { standingOf } from "./decide.ts";
import { Fills, type FillToken } from "./fills.ts";
import { Interner } from "./interner.ts";
import type { Lease } from "./lease.ts";
import { Sieve } from "./sieve.ts";

export interface SecretCacheOptions {
  readonly lease: Lease;
  readonly clocks: Clocks;
  readonly random: Random;
  /** Secrets kept at most. */
  readonly capacity: number;
  /** Milliseconds after which an entry is read again whatever it says. */
  readonly maxAgeMs: number;
  /** ε: by how much the rates of two clocks may differ. */
  readonly clockRateError: number;
  /** What an answer tells of it, as it is sent; made once for each entry. */
  readonly describe: (found: FoundSecret) => string;
}

/** A read that may be kept: where it belongs, when it began, by the clocks and in the order of changes. */
export interface Fill {
  readonly place: string;
  readonly since: Moment;
  readonly token: FillToken;
}

/** Longest span of an entry, 12 days in milliseconds: V8 keeps whole numbers below 2^31 without an object of their own. */
const LONGEST_MS = 2 ** 30;

/**
 * Ready to answer. Nothing that it tells changes before it is over. Whole milliseconds since the cache was made, rounded
 * so that it ends early.
 */
interface Entry extends KnownSecret {
  readonly place: string;
  readonly sinceMonotonicMs: number;
  readonly sinceWallMs: number;
  /** Milliseconds from then until the entry is to be read again, and until the secret itself ends. */
  readonly freshMs: number;
  readonly lastsMs: number;
  isUsed: boolean;
}

/**
 * What was read of secrets, to be answered from while the lease is live. Holds no secret: a place is SHA-256 over a
 * salt of this process and the secret.
 */
export class SecretCache {
  readonly counters = { hits: 0, misses: 0, discardedFills: 0 };
  readonly #options: SecretCacheOptions;
  readonly #salt: string;
  readonly #born: Moment;
  readonly #fills = new Fills();
  readonly #lists = new Interner();
  readonly #entries: Sieve<Entry>;
  /** Nearly every key has one secret: a list for each would be a third of what an entry takes. */
  readonly #ofKey = new Map<string, Entry | readonly Entry[]>();

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

  /** What is known of the secret, if it may be answered from at this moment. */
  find(place: string): KnownSecret | undefined {
    const entry = this.#options.lease.isLive() ? this.#entries.get(place) : undefined;
    if (entry === undefined || this.#ageOf(entry) >= entry.freshMs) {
      this.counters.misses += 1;
      return undefined;
    }
    this.counters.hits += 1;
    return entry;
  }

  /** What was known of the secret when the lease ended; whether it still holds is for the revocation set to say. */
  findUnleased(place: string): KnownSecret | undefined {
    const entry = this.#entries.get(place);
    return entry === undefined || this.#ageOf(entry) >= entry.lastsMs ? undefined : entry;
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
  hasEnded({ since }: Fill, known: KnownSecret): boolean {
    return this.#ageSince(since) >= (known as Entry).lastsMs;
  }

  /** Makes what was read ready to answer, and keeps it unless it may be old already. */
  keep(fill: Fill, found: FoundSecret): KnownSecret {
    const entry = this.#entryOf(fill, found);
    if (!this.#fills.mayKeep(fill.token, entry.keyId)) {
      this.counters.discardedFills += 1;
      return entry;
    }
    this.#entries.set(entry);
    const others = this.#ofKey.get(entry.keyId);
    this.#ofKey.set(entry.keyId, others === undefined ? entry : [entry].concat(others));
    return entry;
  }

  /** Forgets the keys that a change names, and reads that may have been before it. */
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

  /** Forgets everything, and every read that is under way. */
  clear(): void {
    this.#fills.cancel();
    this.#entries.clear();
    this.#ofKey.clear();
  }

  #entryOf({ place, since }: Fill, found: FoundSecret): Entry {
    const { describe, maxAgeMs } = this.#options;
    const { key, secret, revision } = found;
    const lastsMs = Math.min(LONGEST_MS, this.#spanUntilEnd(found));
    return {
      place,
      keyId: key.id,
      owner: key.owner,
      version: secret.version,
      standing: standingOf(found),
      scopes: this.#lists.share(key.scopes),
      allowedCidrs: this.#lists.share(key.allowedCidrs),
      limits: key.limits,
      about: describe(found),
      revision,
      counted: undefined,
      isUsed: false,
      sinceMonotonicMs: Math.floor(since.monotonicMs - this.#born.monotonicMs),
      sinceWallMs: Math.floor(since.wallMs - this.#born.wallMs),
      freshMs: Math.floor(Math.min(maxAgeMs, lastsMs)),
      lastsMs,
    };
  }

  #ageOf({ sinceMonotonicMs, sinceWallMs }: Entry): number {
    const { clocks } = this.#options;
    const monotonic = clocks.monotonicMs() - this.#born.monotonicMs - sinceMonotonicMs;
    return Math.max(monotonic, clocks.wallMs() - this.#born.wallMs - sinceWallMs);
  }

  #ageSince(since: Moment): number {
    const { clocks } = this.#options;
    return Math.max(clocks.monotonicMs() - since.monotonicMs, clocks.wallMs() - since.wallMs);
  }

  /** The end was told by the database's clock, and is waited for by this process': early, never late. */
  #spanUntilEnd({ secret, now }: FoundSecret): number {
    if (!isLive(secret, now)) return Number.POSITIVE_INFINITY;
    const { clockRateError } = this.#options;
    const leftMs = endOfSecret(secret).getTime() - now.getTime();
    return Math.floor((leftMs * (1 - clockRateError)) / (1 + clockRateError));
  }

  #unlist(entry: Entry): void {
    const rest = listed(this.#ofKey.get(entry.keyId) ?? []).filter((other) => other !== entry);
    const [only] = rest;
    if (only === undefined) this.#ofKey.delete(entry.keyId);
    else this.#ofKey.set(entry.keyId, rest.length === 1 ? only : rest);
  }
}

function listed(entries: Entry | readonly Entry[]): readonly Entry[] {
  return "place" in entries ? [entries] : entries;
}
