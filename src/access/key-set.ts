import { type CryptoKey, createLocalJWKSet, errors, type FlattenedJWSInput, type JWSHeaderParameters } from "jose";
import { ClavigerError } from "../keys/errors.ts";
import type { Clock } from "../system/clocks.ts";

export interface KeySetOptions {
  readonly issuer: string;
  /** The current text of the JWK Set. Rejects if it cannot be loaded. Bounded in time and size. */
  readonly load: () => Promise<string>;
  readonly clock: Clock;
  /** Minimum milliseconds between loads that unknown keys cause: a flood of them causes one load in this time. */
  readonly cooldownMs: number;
  /** Milliseconds after which a use starts a load in the background. */
  readonly refreshMs: number;
  /** Milliseconds between loads while the set has no keys at all. */
  readonly retryMs: number;
  /** Called after each successful load. */
  readonly onLoaded: () => void;
  /** Called once for each failed load. */
  readonly onFailure: (error: unknown) => void;
}

/** A key, and the generation of its set. */
export interface FoundKey {
  readonly key: CryptoKey;
  readonly generation: number;
}

interface Loaded {
  readonly text: string;
  readonly find: ReturnType<typeof createLocalJWKSet>;
  readonly generation: number;
}

/**
 * Keeps the public keys of one issuer up to date as they are used. A failed load keeps the keys that it has.
 * Why not jose's `createRemoteJWKSet`: docs/decisions/0014-own-jwks-set.md.
 */
export class KeySet {
  readonly #options: KeySetOptions;
  #loaded: Loaded | undefined;
  #loadTime = Number.NEGATIVE_INFINITY;
  #attempt: { readonly time: number; failed: boolean } | undefined;
  #loading: Promise<void> | undefined;

  constructor(options: KeySetOptions) {
    this.#options = options;
  }

  /** Counts the changes of the set; 0 before the first load. Results of an older generation are out of date. */
  get generation(): number {
    return this.#loaded?.generation ?? 0;
  }

  /** Starts a load if the keys are old. They stay in use until it is done. */
  refresh(): void {
    if (this.#since(this.#loadTime) >= this.#options.refreshMs) void this.#load();
  }

  /**
   * The one key that the header's `kid` and `alg` select.
   *
   * @throws JWKSNoMatchingKey, JWKSMultipleMatchingKeys of jose: no key matches, or several do.
   * @throws ClavigerError `ISSUER_UNAVAILABLE`: the set is empty, or no key matches and the issuer, which may have a
   * new one, does not answer.
   */
  async find(header: JWSHeaderParameters, token: FlattenedJWSInput): Promise<FoundKey> {
    if (this.#loaded === undefined) await this.#load();
    try {
      return await this.#findLoaded(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
    }
    await this.#load();
    if (this.#attempt?.failed) throw issuerUnavailable(this.#options.issuer);
    return this.#findLoaded(header, token);
  }

  async #findLoaded(header: JWSHeaderParameters, token: FlattenedJWSInput): Promise<FoundKey> {
    const loaded = this.#loaded;
    if (loaded === undefined) throw issuerUnavailable(this.#options.issuer);
    return { key: await loaded.find(header, token), generation: loaded.generation };
  }

  /** Runs one load at a time, and none within the cooldown of the last one. */
  async #load(): Promise<void> {
    if (this.#loading === undefined && this.#isCoolingDown()) return;
    this.#loading ??= this.#replace().finally(() => {
      this.#loading = undefined;
    });
    await this.#loading;
  }

  async #replace(): Promise<void> {
    const { clock, load, onLoaded, onFailure } = this.#options;
    const attempt = { time: clock.now(), failed: false };
    this.#attempt = attempt;
    try {
      const text = await load();
      if (text !== this.#loaded?.text) {
        this.#loaded = { text, find: createLocalJWKSet(JSON.parse(text)), generation: this.generation + 1 };
      }
      this.#loadTime = clock.now();
      onLoaded();
    } catch (error) {
      attempt.failed = true;
      onFailure(error);
    }
  }

  #isCoolingDown(): boolean {
    const { cooldownMs, retryMs } = this.#options;
    if (this.#attempt === undefined) return false;
    return this.#since(this.#attempt.time) < (this.#loaded === undefined ? retryMs : cooldownMs);
  }

  /** The absolute distance: a clock that is set back must not stop the loads until it has caught up. */
  #since(time: number): number {
    return Math.abs(this.#options.clock.now() - time);
  }
}

/** `ISSUER_UNAVAILABLE` says nothing about the token, which could not be checked. */
export function issuerUnavailable(issuer: string, cause?: unknown): ClavigerError {
  return new ClavigerError(
    "ISSUER_UNAVAILABLE",
    `the token cannot be checked: the keys of its issuer, ${issuer}, cannot be had. Try again in a moment`,
    { metadata: { issuer }, cause },
  );
}
