import { redactSecrets } from "../keys/redact.ts";
import type { UsageDelta, UsageKey } from "../keys/usage-delta.ts";
import type { Clocks } from "../verify/clocks.ts";

export interface UsageRecorderOptions {
  readonly clocks: Pick<Clocks, "wallMs">;
  /** Bytes, as estimated, that counts may take which the ledger does not have. */
  readonly budgetBytes: number;
}

/** A verification that was decided. */
export interface Use extends Omit<UsageKey, "minute"> {
  readonly cost: number;
}

type Mutable<T> = { -readonly [Name in keyof T]: T[Name] };

/** An object, its strings and its place in the map: 219 bytes each of a million (Node 26), and room for long names. */
const ENTRY_BYTES = 300;
/** Above this share of the budget methods are given up, to have room for keys. */
const METHODS_SHARE = 0.75;

/** Counts decided verifications in memory, under one budget: beyond it methods are given up first, then counts. */
export class UsageRecorder {
  readonly counters = { methodsDropped: 0, countsDropped: 0 };
  readonly #options: UsageRecorderOptions;
  readonly #counts = new Map<string, Mutable<UsageDelta>>();
  /** Where the last use of something that is verified again and again was counted, and before how many takes. */
  readonly #lasts = new WeakMap<object, { readonly count: Mutable<UsageDelta>; readonly takes: number }>();
  #takes = 0;
  #bytes = 0;

  constructor(options: UsageRecorderOptions) {
    this.#options = options;
  }

  /** Rows that were not taken yet. */
  get size(): number {
    return this.#counts.size;
  }

  /**
   * Counts a use. `like` is an object that stays the same for uses of one secret, if there is one: finding the place by
   * it takes 1.5 µs among 100,000 keys on a busy machine, by name 4.1.
   */
  record(use: Use, like?: object): void {
    const second = Math.floor(this.#options.clocks.wallMs() / 1000);
    const minute = Math.floor(second / 60);
    const last = like === undefined ? undefined : this.#lasts.get(like);
    const isSame =
      last !== undefined &&
      last.takes === this.#takes &&
      last.count.minute === minute &&
      last.count.verdict === use.verdict &&
      last.count.method === use.method;
    const count = isSame ? last.count : this.#find(use, minute);
    if (count === undefined) return;
    if (like !== undefined && !isSame) this.#lasts.set(like, { count, takes: this.#takes });
    count.count += 1;
    count.cost += use.cost;
    count.lastSecond = Math.max(count.lastSecond, second);
  }

  /** Takes up to `limit` rows out, oldest first; their bytes go on counting until `release`. */
  take(limit: number): UsageDelta[] {
    this.#takes += 1;
    const taken: UsageDelta[] = [];
    for (const [place, delta] of this.#counts) {
      if (taken.length >= limit) break;
      taken.push(delta);
      this.#counts.delete(place);
    }
    return taken;
  }

  /** The ledger has what was taken. */
  release(taken: readonly UsageDelta[]): void {
    for (const delta of taken) this.#bytes -= bytesOf(delta.method);
  }

  #find(use: Use, minute: number): Mutable<UsageDelta> | undefined {
    const place = `${use.keyId} ${use.callerId} ${use.version} ${use.verdict} ${minute} `;
    return this.#counts.get(place + use.method) ?? this.#begin(place, use, minute);
  }

  #begin(place: string, use: Use, minute: number): Mutable<UsageDelta> | undefined {
    const { budgetBytes } = this.#options;
    const isTight = this.#bytes + bytesOf(use.method) > budgetBytes * METHODS_SHARE;
    if (isTight && use.method !== "") {
      this.counters.methodsDropped += 1;
      return this.#counts.get(place) ?? this.#begin(place, { ...use, method: "" }, minute);
    }
    if (this.#bytes + bytesOf("") > budgetBytes) {
      this.counters.countsDropped += 1;
      return undefined;
    }
    // Postgres has no U+0000 in its text; and a secret that was put there by mistake must not reach a table.
    const method = redactSecrets(use.method.replaceAll("\0", "\u{fffd}"));
    const { keyId, callerId, version, verdict } = use;
    const count = { keyId, callerId, version, verdict, method, minute, count: 0, cost: 0, lastSecond: 0 };
    this.#counts.set(place + use.method, count);
    this.#bytes += bytesOf(method);
    return count;
  }
}

function bytesOf(method: string): number {
  return ENTRY_BYTES + method.length;
}
