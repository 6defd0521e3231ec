import type { Verdict } from "../keys/lifecycle.ts";
import type { UsageBatch, UsageDelta } from "../keys/usage-delta.ts";
import type { UsageProofs } from "../keys/usage-proof.ts";
import { type Clocks, DAY_MS, type Timers } from "../system/clocks.ts";
import { Slots } from "../verify/slots.ts";
import type { UsageLedger } from "./flusher.ts";

/** Why rows of a report were refused, or the whole report was put off. */
export type RefusalReason =
  | "proof"
  | "proof too old"
  | "verdict"
  | "count or cost"
  | "too many epochs"
  | "too many reports at once";

export interface RefusedRows {
  readonly callerId: string;
  readonly reason: RefusalReason;
  readonly rows: number;
}

export interface AgentReportsOptions {
  readonly proofs: UsageProofs;
  readonly ledger: UsageLedger;
  readonly clocks: Pick<Clocks, "wallMs">;
  /** Maximum milliseconds for which an agent may keep an entry. */
  readonly entryMs: number;
  readonly timers: Timers;
  /**
   * Maximum of reports that write to the ledger at once. Each holds a connection to the database, and revocations need
   * connections too.
   */
  readonly mostReports: number;
  /** Maximum of waiting reports of all callers, and the milliseconds that one may wait. Callers take turns. */
  readonly mostWaitingReports: number;
  readonly reportWaitMs: number;
  /** Called once per caller and minute. */
  readonly onRefused: (refused: RefusedRows) => void;
}

/** Maximum age of a report: the ledger accepts no older counts. */
export const REPORT_WAIT_MS = 7 * DAY_MS;
/**
 * Maximum count of one row. One core answers `verifySync` of the SDK 17 million times a minute; 36 cores reach this
 * count.
 */
const MOST_COUNT = 600_000_000;
/** Maximum `cost` of one verification. */
const MOST_COST = 2 ** 31 - 1;
/**
 * Epochs that one caller may begin in a minute on one process: the number of agents that can start at once with one
 * key.
 */
const MOST_NEW_EPOCHS = 1000;
/**
 * Delay for a report under a root secret that this process does not know. A cluster receives a new root within this
 * time.
 */
const UNKNOWN_ROOT_MS = DAY_MS;
/** The verdicts that an entry contains or that an agent decides by it. */
const ANSWERED_FROM_ENTRIES: ReadonlySet<Verdict> = new Set([
  ...(["valid", "revoked", "disabled", "retired", "expired"] as const),
  ...(["environment_denied", "address_denied", "scope_missing"] as const),
]);

/**
 * Accepts usage reports of agents as far as they can be true. An agent can count only secrets whose entries its calling
 * key received, only as often as a process can answer, and only between the entry and now. A row that breaks a rule is
 * refused alone.
 */
export class AgentReports {
  readonly counters = { rowsRefused: 0, reportsPutOff: 0 };
  readonly #options: AgentReportsOptions;
  readonly #begun: MinuteCounts;
  readonly #told: MinuteCounts;
  readonly #slots: Slots;

  constructor(options: AgentReportsOptions) {
    this.#options = options;
    const { mostReports: count, mostWaitingReports: mostWaiting, timers } = options;
    this.#slots = new Slots({ count, mostWaiting, timers });
    this.#begun = new MinuteCounts(options.clocks);
    this.#told = new MinuteCounts(options.clocks);
  }

  /** Makes the proof with which the caller may report usage of this secret from now on. */
  proofFor(callerId: string, { keyId, version }: { readonly keyId: string; readonly version: number }): Uint8Array {
    return this.#options.proofs.issue({ callerId, keyId, version }, this.#nowSecond());
  }

  /** Rejects if the outcome is unknown. `unavailable`: the agent must send the same report again. */
  async take(callerId: string, report: UsageBatch): Promise<"taken" | "gap" | "unavailable"> {
    if (report.seq === 1 && this.#begun.add(callerId) > MOST_NEW_EPOCHS) {
      return this.#putOff("too many epochs", { callerId, report });
    }
    const turn = this.#slots.take(callerId, this.#options.reportWaitMs);
    if (turn !== undefined && (await turn) !== "slot") {
      return this.#putOff("too many reports at once", { callerId, report });
    }
    try {
      return await this.#append(callerId, report);
    } finally {
      this.#slots.release();
    }
  }

  async #append(callerId: string, report: UsageBatch): Promise<"taken" | "gap" | "unavailable"> {
    const now = this.#nowSecond();
    const taken: UsageDelta[] = [];
    for (const row of report.deltas) {
      const judged = this.#judge(callerId, row, now);
      if (judged === "unknown root") return "unavailable";
      if (typeof judged === "string") this.#refuse({ callerId, reason: judged, rows: 1 });
      else taken.push(judged);
    }
    // The epoch is bound to the caller: no other caller can report under it.
    const appended = await this.#options.ledger.append({
      ...{ epoch: `${callerId}/${report.epoch}`, seq: report.seq, deltas: taken },
    });
    if (appended === "full") return this.#putOff("too many epochs", { callerId, report });
    return appended === "gap" ? "gap" : "taken";
  }

  /** The row to count, or the rule that it breaks. */
  #judge(callerId: string, row: UsageDelta, now: number): UsageDelta | RefusalReason | "unknown root" {
    const { keyId, version, verdict, count, cost, proof = "" } = row;
    const read = this.#options.proofs.read({ callerId, keyId, version }, Buffer.from(proof, "latin1"));
    if (read.kind === "unknown root" && Math.abs(now - read.claimedSecond) * 1000 < UNKNOWN_ROOT_MS) return read.kind;
    if (read.kind !== "genuine") return "proof";
    if ((now - read.issuedSecond) * 1000 > REPORT_WAIT_MS + this.#options.entryMs) return "proof too old";
    if (!ANSWERED_FROM_ENTRIES.has(verdict)) return "verdict";
    if (!(count <= MOST_COUNT && cost <= count * MOST_COST)) return "count or cost";
    // A caller's clock may be wrong. Its counts lie between the delivery of the entry and this report.
    const lastSecond = Math.min(Math.max(row.lastSecond, read.issuedSecond), now);
    return { ...row, lastSecond, minute: Math.floor(lastSecond / 60) };
  }

  #putOff(
    reason: RefusalReason,
    { callerId, report }: { readonly callerId: string; readonly report: UsageBatch },
  ): "unavailable" {
    this.counters.reportsPutOff += 1;
    this.#tell({ callerId, reason, rows: report.deltas.length });
    return "unavailable";
  }

  #refuse(refused: RefusedRows): void {
    this.counters.rowsRefused += refused.rows;
    this.#tell(refused);
  }

  #tell(refused: RefusedRows): void {
    if (this.#told.add(refused.callerId) === 1) this.#options.onRefused(refused);
  }

  #nowSecond(): number {
    return Math.floor(this.#options.clocks.wallMs() / 1000);
  }
}

/** Counts by name within the current minute, and then forgets all names. */
class MinuteCounts {
  readonly #clocks: Pick<Clocks, "wallMs">;
  readonly #counts = new Map<string, number>();
  #minute = 0;

  constructor(clocks: Pick<Clocks, "wallMs">) {
    this.#clocks = clocks;
  }

  /** The count of the name so far. */
  add(name: string): number {
    const minute = Math.floor(this.#clocks.wallMs() / 60_000);
    if (minute !== this.#minute) this.#counts.clear();
    this.#minute = minute;
    const count = (this.#counts.get(name) ?? 0) + 1;
    this.#counts.set(name, count);
    return count;
  }
}
