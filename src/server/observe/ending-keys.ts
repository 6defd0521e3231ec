import type { Logger } from "pino";
import type { FoundSecret } from "../../keys/cached-secret.ts";
import { endOfSecret, isLive } from "../../keys/lifecycle.ts";
import { DAY_MS, HOUR_MS } from "../../system/clocks.ts";

/** Days before its end at which a calling key is warned about. */
const WARNING_DAYS = [1, 3, 14] as const;
/** A secret that was not read for this long is not in use any more: secrets in use are read every few minutes. */
const IN_USE_MS = HOUR_MS;
/** Secrets that are remembered. */
const MOST = 10_000;

/** The year 2286: far enough that an alert on the time that is left needs no exception. */
export const NO_END_SECONDS = 9_999_999_999;

interface Ending {
  readonly endMs: number;
  readonly warnedDays: number;
  readonly readMs: number;
}

export interface EndingKeysOptions {
  readonly log: Pick<Logger, "warn">;
  readonly monotonicMs: () => number;
}

/**
 * Warns 14, 3 and 1 days before the secret of a service ends: a key with a scope of `claviger:` that is in use. Without
 * its key a service can verify nothing.
 */
export class EndingKeys {
  readonly #options: EndingKeysOptions;
  readonly #endings = new Map<string, Ending>();

  constructor(options: EndingKeysOptions) {
    this.#options = options;
  }

  /** Takes each secret that was read from storage. */
  note(found: FoundSecret): void {
    const { key, secret, now } = found;
    const name = `${key.id} ${secret.version}`;
    const isUsable = key.revokeTime === null && !key.disabled && isLive(secret, now);
    const leftMs = endOfSecret(secret).getTime() - now.getTime();
    const days = WARNING_DAYS.find((each) => leftMs <= each * DAY_MS);
    if (!isUsable || days === undefined || !key.scopes.some((scope) => scope.startsWith("claviger:"))) {
      this.#endings.delete(name);
      return;
    }
    const known = this.#endings.get(name);
    if (known === undefined && this.#endings.size >= MOST) return;
    const endMs = now.getTime() + leftMs;
    this.#endings.set(name, { endMs, warnedDays: days, readMs: this.#options.monotonicMs() });
    if (known !== undefined && known.warnedDays <= days) return;
    const about = { event: "key.ends", keyId: key.id, version: secret.version, owner: key.owner };
    const endTime = new Date(endMs).toISOString();
    this.#options.log.warn(
      { ...about, endTime, daysLeft: Math.floor(leftMs / DAY_MS) },
      `the secret of a calling key ends within ${days} ${days === 1 ? "day" : "days"}. Rotate the key`,
    );
  }

  /** The soonest end within 14 days of a secret in use, in seconds since 1970; `NO_END_SECONDS` if there is none. */
  soonestEndSeconds(): number {
    const oldest = this.#options.monotonicMs() - IN_USE_MS;
    for (const [name, { readMs }] of this.#endings) if (readMs < oldest) this.#endings.delete(name);
    const ends = [...this.#endings.values()].map(({ endMs }) => endMs);
    return ends.length === 0 ? NO_END_SECONDS : Math.min(...ends) / 1000;
  }
}
