import { redactSecrets } from "../keys/secret.ts";
import type { UsageDelta, UsageKey } from "../keys/usage-delta.ts";
import type { Clocks } from "../system/clocks.ts";

export interface UsageRecorderOptions {
  readonly clocks: Pick<Clocks, "wallMs">;
  /** Maximum estimated bytes of counts that the ledger does not have yet. */
  readonly budgetBytes: number;
}

/** A verification that was decided. */
export interface Use extends Omit<UsageKey, "minute"> {
  readonly cost: number;
  /** In an agent: the proof that came with the entry. */
  readonly proof?: string | undefined;
}

/** The counts of one row. A row waits for the flusher if its count is above zero. */
type Row = { -readonly [Name in keyof UsageDelta]: UsageDelta[Name] };

/** A secret that is verified repeatedly and remembers the row of its last use. */
export interface Countable {
  counted: UsageDelta | undefined;
}

/** An object, its strings and its place in the map: 219 bytes each of a million (Node 26), plus room for long names. */
const ENTRY_BYTES = 300;
/** Above this share of the budget, methods are dropped to keep room for keys. */
const METHODS_SHARE = 0.75;

/** Counts decided verifications in memory, within a budget. Above the budget it drops methods first, then counts. */
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

  /** Rows that the flusher has not taken yet. */
  get size(): number {
    return this.#rows.length;
  }

  /**
   * Counts one use. If `like` remembers the row of its previous use and that row matches or was flushed, the recorder
   * reuses the row: it saves a look-up by name, and less garbage means shorter collections.
   */
  record(use: Use, like?: Countable, wallMs: number = this.#options.clocks.wallMs()): void {
    const second = Math.floor(wallMs / 1000);
    const row = this.#rowOf(use, Math.floor(second / 60), like);
    if (row === undefined) return;
    row.count += 1;
    row.cost += use.cost;
    row.lastSecond = Math.max(row.lastSecond, second);
  }

  /** Removes up to `limit` rows, oldest first. Their bytes count against the budget until `release`. */
  take(limit: number): readonly UsageDelta[] {
    const rows = this.#rows.slice(0, limit);
    this.#rows = this.#rows.slice(limit);
    this.#methods.clear();
    if (this.#rows.length === 0) this.#byName.clear();
    else for (const row of rows) this.#byName.delete(nameOf(row));
    return rows.map((row) => {
      const taken = { ...row };
      row.count = 0;
      row.cost = 0;
      return taken;
    });
  }

  /** Releases rows that the ledger has stored. */
  release(taken: readonly UsageDelta[]): void {
    for (const delta of taken) this.#bytes -= bytesOf(delta.method);
  }

  #rowOf(use: Use, minute: number, like: Countable | undefined): Row | undefined {
    const last: Row | undefined = like?.counted;
    if (last?.count === 0) {
      const method = last.method === use.method ? last.method : this.#storable(use.method);
      if (this.#hasRoomFor(method)) {
        // Another row of this name may exist: two rows of one batch are added up.
        last.verdict = use.verdict;
        last.method = method;
        last.minute = minute;
        last.lastSecond = 0;
        return this.#queue(last);
      }
    } else if (last?.minute === minute && last.verdict === use.verdict) {
      if (last.method === use.method) return last;
      // Above the budget nearly every use comes here: it must not cost more than others.
      if (last.method === "" && !this.#hasRoomFor(use.method)) {
        this.counters.methodsDropped += 1;
        return last;
      }
    }
    const row = this.#find(use, minute);
    if (like !== undefined) like.counted = row;
    return row;
  }

  #find(use: Use, minute: number): Row | undefined {
    const method = this.#storable(use.method);
    const { keyId, callerId, version, verdict, proof } = use;
    // The fields that each use reads and writes come first, in one cache line or two.
    const row = { minute, verdict, method, count: 0, cost: 0, lastSecond: 0, keyId, callerId, version, proof };
    const name = nameOf(row);
    const known = this.#byName.get(name);
    if (known !== undefined) {
      // The newest proof: the agent may use another calling key by now.
      known.proof = proof;
      return known;
    }
    if (this.#hasRoomFor(method)) {
      this.#byName.set(name, row);
      return this.#queue(row);
    }
    if (method === "") {
      this.counters.countsDropped += 1;
      return undefined;
    }
    this.counters.methodsDropped += 1;
    return this.#find({ ...use, method: "" }, minute);
  }

  #hasRoomFor(method: string): boolean {
    const share = method === "" ? 1 : METHODS_SHARE;
    return this.#bytes + bytesOf(method) <= this.#options.budgetBytes * share;
  }

  #queue(row: Row): Row {
    this.#rows.push(row);
    this.#bytes += bytesOf(row.method);
    return row;
  }

  /** Computed once per row. */
  #storable(method: string): string {
    const known = this.#methods.get(method);
    if (known !== undefined) return known;
    const storable = storableMethod(method);
    this.#methods.set(method, storable);
    return storable;
  }
}

function nameOf({ keyId, callerId, version, verdict, minute, method }: UsageKey): string {
  return `${keyId} ${callerId} ${version} ${verdict} ${minute} ${method}`;
}

function bytesOf(method: string): number {
  return ENTRY_BYTES + method.length;
}

/**
 * A method name that a table can store. Postgres text holds neither U+0000 nor a lone surrogate, and a batch with one
 * would never be stored. Secrets that were passed as a method by mistake are redacted.
 */
export function storableMethod(method: string): string {
  return redactSecrets(method.replaceAll("\0", "\u{fffd}").toWellFormed());
}
