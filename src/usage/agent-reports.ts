import { DAY_MS } from "../keys/limits.ts";
import type { UsageBatch, UsageDelta } from "../keys/usage-delta.ts";
import type { UsageProofs } from "../keys/usage-proof.ts";
import type { Verdict } from "../keys/verdict.ts";
import type { Clocks, Timers } from "../system/clocks.ts";
import { Slots } from "../verify/slots.ts";
import type { UsageLedger } from "./ledger.ts";

/** Why rows of a report, or all of it for now, were not taken. */
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
  /** Milliseconds that an entry may be kept at most. */
  readonly entryMs: number;
  readonly timers: Timers;
  /**
   * Reports written to the ledger at once. Each holds a connection to the database, and a revocation waits for a
   * connection like everything else.
   */
  readonly mostReports: number;
  /** Reports of all callers that wait for that, and how many milliseconds one may wait. The callers take turns. */
  readonly mostWaitingReports: number;
  readonly reportWaitMs: number;
  /** Told once per caller and minute. */
  readonly onRefused: (refused: RefusedRows) => void;
}

/** How long a report may wait to be sent: the ledger places no count longer ago. */
export const REPORT_WAIT_MS = 7 * DAY_MS;
/** Of one row. `verifySync` of the SDK answers 17 million times a minute and core; 36 cores answer this often. */
const MOST_COUNT = 600_000_000;
/** The greatest `cost` of one verification. */
const MOST_COST = 2 ** 31 - 1;
/** Epochs that one caller may begin in a minute on one process: as many agents may start at once with one key. */
const MOST_NEW_EPOCHS = 1000;
/** How long a report under a root that this process does not know is put off: a cluster is given a new root meanwhile. */
const UNKNOWN_ROOT_MS = DAY_MS;
/** What an entry says of a secret, or an agent decides by it. */
const ANSWERED_FROM_ENTRIES: ReadonlySet<Verdict> = new Set([
  ...(["valid", "revoked", "disabled", "retired", "expired"] as const),
  ...(["environment_denied", "address_denied", "scope_missing"] as const),
]);

/**
 * Takes what agents report, as far as it can be so: an agent can count only secrets of which its calling key was given
 * an entry, as often as a process can answer, between then and now. A row that breaks this is refused alone.
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

  /** What lets the caller report usage of this secret, from now on. */
  proofFor(callerId: string, { keyId, version }: { readonly keyId: string; readonly version: number }): Uint8Array {
    return this.#options.proofs.issue({ callerId, keyId, version }, this.#nowSecond());
  }

  /** Rejects if it is not known what became of the report. `unavailable`: it is to be sent again as it is. */
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
    // The caller's epoch is its own: no other caller can speak for it.
    const appended = await this.#options.ledger.append({
      ...{ epoch: `${callerId}/${report.epoch}`, seq: report.seq, deltas: taken },
    });
    if (appended === "full") return this.#putOff("too many epochs", { callerId, report });
    return appended === "gap" ? "gap" : "taken";
  }

  /** The row as it may be counted, or what is wrong with it. */
  #judge(callerId: string, row: UsageDelta, now: number): UsageDelta | RefusalReason | "unknown root" {
    const { keyId, version, verdict, count, cost, proof = "" } = row;
    const read = this.#options.proofs.read({ callerId, keyId, version }, Buffer.from(proof, "latin1"));
    if (read.kind === "unknown root" && Math.abs(now - read.claimedSecond) * 1000 < UNKNOWN_ROOT_MS) return read.kind;
    if (read.kind !== "genuine") return "proof";
    if ((now - read.issuedSecond) * 1000 > REPORT_WAIT_MS + this.#options.entryMs) return "proof too old";
    if (!ANSWERED_FROM_ENTRIES.has(verdict)) return "verdict";
    if (!(count <= MOST_COUNT && cost <= count * MOST_COST)) return "count or cost";
    // A caller's clock may be wrong; what it counted lies between its being told and its telling.
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

/** Counts by name, in the minute that runs; then all are forgotten. */
class MinuteCounts {
  readonly #clocks: Pick<Clocks, "wallMs">;
  readonly #counts = new Map<string, number>();
  #minute = 0;

  constructor(clocks: Pick<Clocks, "wallMs">) {
    this.#clocks = clocks;
  }

  /** How many there are by now. */
  add(name: string): number {
    const minute = Math.floor(this.#clocks.wallMs() / 60_000);
    if (minute !== this.#minute) this.#counts.clear();
    this.#minute = minute;
    const count = (this.#counts.get(name) ?? 0) + 1;
    this.#counts.set(name, count);
    return count;
  }
}
