import type { UsageDelta, UsageKey } from "../keys/usage-delta.ts";
import type { Clocks } from "../verify/clocks.ts";
import { storableMethod } from "./storable-method.ts";

export interface UsageRecorderOptions {
  readonly clocks: Pick<Clocks, "wallMs">;
  /** Bytes, as estimated, that counts may take which the ledger does not have. */
  readonly budgetBytes: number;
}

/** A verification that was decided. */
export interface Use extends Omit<UsageKey, "minute"> {
  readonly cost: number;
}

/** What is verified again and again, and remembers where its last use was counted. */
export interface Countable {
  counted: UsageDelta | undefined;
}

type Mutable<T> = { -readonly [Name in keyof T]: T[Name] };

interface Row extends Mutable<UsageDelta> {
  /** Whether it may still grow. */
  isOpen: boolean;
}

/** An object, its strings and its place in the map: 219 bytes each of a million (Node 26), and room for long names. */
const ENTRY_BYTES = 300;
/** Above this share of the budget methods are given up, to have room for keys. */
const METHODS_SHARE = 0.75;

/** Counts decided verifications in memory, under one budget: beyond it methods are given up first, then counts. */
export class UsageRecorder {
  readonly counters = { methodsDropped: 0, countsDropped: 0 };
  readonly #options: UsageRecorderOptions;
  #rows: Row[] = [];
  readonly #byName = new Map<string, Row>();
  readonly #methods = new Map<string, string>();
  #bytes = 0;

  constructor(options: UsageRecorderOptions) {
    this.#options = options;
  }

  /** Rows that were not taken yet. */
  get size(): number {
    return this.#rows.length;
  }

  /**
   * Counts a use of `like`, if it is of anything that is known. What is counted where the last use of it was need not
   * be looked for: by name that takes 4 µs among 100,000 keys on a busy machine.
   */
  record(use: Use, like?: Countable): void {
    const second = Math.floor(this.#options.clocks.wallMs() / 1000);
    const row = this.#rowOf(use, Math.floor(second / 60), like);
    if (row === undefined) return;
    row.count += 1;
    row.cost += use.cost;
    row.lastSecond = Math.max(row.lastSecond, second);
  }

  /** Takes up to `limit` rows out, oldest first; their bytes go on counting until `release`. */
  take(limit: number): readonly UsageDelta[] {
    const taken = this.#rows.slice(0, limit);
    this.#rows = this.#rows.slice(limit);
    for (const row of taken) row.isOpen = false;
    this.#methods.clear();
    if (this.#rows.length === 0) this.#byName.clear();
    else for (const row of taken) this.#byName.delete(nameOf(row, row.minute) + row.method);
    return taken;
  }

  /** The ledger has what was taken. */
  release(taken: readonly UsageDelta[]): void {
    for (const delta of taken) this.#bytes -= bytesOf(delta.method);
  }

  #rowOf(use: Use, minute: number, like: Countable | undefined): Row | undefined {
    const last = like?.counted as Row | undefined;
    const isSame =
      last !== undefined && last.minute === minute && last.verdict === use.verdict && last.method === use.method;
    if (isSame && last.isOpen) return last;
    // Where the last row was taken, there may be another of that name: two of one batch are added up.
    const row = isSame ? this.#begin(use, minute) : this.#find(use, minute);
    if (like !== undefined) like.counted = row;
    return row;
  }

  #find(use: Use, minute: number): Row | undefined {
    const name = nameOf(use, minute);
    const known = this.#byName.get(name + use.method);
    if (known?.isOpen) return known;
    const row = this.#begin(use, minute);
    const hasMethod = row?.method !== "" || use.method === "";
    if (row !== undefined && hasMethod) this.#byName.set(name + use.method, row);
    return row;
  }

  #begin(use: Use, minute: number): Row | undefined {
    const { budgetBytes } = this.#options;
    const isTight = this.#bytes + bytesOf(use.method) > budgetBytes * METHODS_SHARE;
    if (isTight && use.method !== "") {
      this.counters.methodsDropped += 1;
      return this.#find({ ...use, method: "" }, minute);
    }
    if (this.#bytes + bytesOf("") > budgetBytes) {
      this.counters.countsDropped += 1;
      return undefined;
    }
    const { keyId, callerId, version, verdict } = use;
    const method = this.#storable(use.method);
    const row = { keyId, callerId, version, verdict, method, minute, count: 0, cost: 0, lastSecond: 0, isOpen: true };
    this.#rows.push(row);
    this.#bytes += bytesOf(method);
    return row;
  }

  /** Worked out once for each. */
  #storable(method: string): string {
    const known = this.#methods.get(method);
    if (known !== undefined) return known;
    const storable = storableMethod(method);
    this.#methods.set(method, storable);
    return storable;
  }
}

function nameOf({ keyId, callerId, version, verdict }: Omit<UsageKey, "minute">, minute: number): string {
  return `${keyId} ${callerId} ${version} ${verdict} ${minute} `;
}

function bytesOf(method: string): number {
  return ENTRY_BYTES + method.length;
}
