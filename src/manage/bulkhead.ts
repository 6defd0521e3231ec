import { type Caller, callerId } from "../access/caller.ts";
import { ClavigerError } from "../keys/errors.ts";
import type { ManageDeps, ManageStorage } from "./deps.ts";

/**
 * The priority of database work. `urgent` work ends keys: it goes first, with connections of its own. A `report` of a
 * leaked secret takes turns with urgent work and has few connections, because it needs no credential and one client can
 * have many addresses.
 */
export type Lane = "urgent" | "report" | "ordinary";

/** The requester and the subject of a piece of database work. */
export interface Errand {
  readonly caller: Caller;
  /** The locked row, such as `key:key_…`, or another resource with little concurrency; empty for neither. */
  readonly about: string;
  readonly lane: Lane;
  /** Whether the work records a denial for the caller. Waiting calls do not displace it. Default: false. */
  readonly isDenial?: boolean;
}

export interface BulkheadOptions {
  /** Connections of the pool; 1 for the embedded database. */
  readonly connections: number;
  readonly monotonicMs: () => number;
  /** Maximum wait for a turn, in milliseconds. */
  readonly waitMs: number;
}

/**
 * Maximum of running work in one lane about the same row: the second waits for the row's lock, and a third would only
 * hold a connection.
 */
const MOST_ABOUT_ONE = 2;

/**
 * Maximum of waiting calls per caller. Ordinary: the number of calls on one connection. Urgent: an operator may revoke
 * a thousand keys at once.
 */
const MOST_WAITING_PER_CALLER: Readonly<Record<Lane, number>> = { urgent: 1024, report: 1024, ordinary: 128 };

/** Maximum of waiting calls in a lane, over all callers: an open call holds about 45 KB. */
const MOST_WAITING = 4096;

/**
 * Urgent pieces of work that may overtake an ordinary one, so that a flood of revocations does not stop all other work.
 */
const MOST_OVERTAKING = 3;

/**
 * Shares the connections to the database between the callers of management (the bulkhead pattern: M. Nygard, "Release
 * It!"). Work waits here, before it takes a connection:
 *
 * - Ordinary work uses at most half of the connections, reports of leaked secrets a quarter, all work together all
 *   but two. Those two serve background work: the registry of leases, sealing, folding.
 * - One caller uses at most half of the share of ordinary work, in each lane. Work about one row uses at most two
 *   connections.
 * - Callers take turns. A caller with too many waiting calls is refused at once, as `OVERLOADED`. Records of denials
 *   wait apart; otherwise a caller could keep them out of the audit log by filling its own queue.
 */
export class Bulkhead {
  readonly #options: BulkheadOptions;
  readonly #mostOrdinary: number;
  readonly #mostReports: number;
  readonly #mostInAll: number;
  readonly #lanes: Readonly<Record<Lane, Queue>>;
  #overtaking = 0;
  #isTurnOfReport = false;

  constructor(options: BulkheadOptions) {
    const { connections } = options;
    this.#options = options;
    this.#mostOrdinary = Math.max(1, Math.floor(connections / 2));
    this.#mostReports = Math.max(1, Math.floor(connections / 4));
    this.#mostInAll = Math.max(Math.min(connections, this.#mostOrdinary + 1), connections - 2);
    const mostPerCaller = Math.ceil(this.#mostOrdinary / 2);
    this.#lanes = {
      urgent: new Queue("urgent", mostPerCaller),
      report: new Queue("report", this.#mostReports),
      ordinary: new Queue("ordinary", mostPerCaller),
    };
  }

  /** `storage` for one request: each read and transaction waits for its turn. Must not be nested. */
  storageFor(storage: ManageStorage, errand: Errand): ManageStorage {
    return {
      read: (work) => this.run(errand, () => storage.read(work)),
      transaction: (work) => this.run(errand, () => storage.transaction(work)),
    };
  }

  /**
   * Runs `work` in its turn.
   *
   * @throws ClavigerError `OVERLOADED`: the work was not begun.
   */
  async run<T>({ caller, about, lane, isDenial = false }: Errand, work: () => Promise<T>): Promise<T> {
    const queue = this.#lanes[lane];
    const place = { caller: `${isDenial ? "denial:" : ""}${callerId(caller)}`, about };
    const turn = Promise.withResolvers<void>();
    const refuse = (error: ClavigerError) => turn.reject(error);
    queue.add({ ...place, start: turn.resolve, refuse, lateMs: this.#options.monotonicMs() + this.#options.waitMs });
    this.#startNext();
    await turn.promise;
    try {
      return await work();
    } finally {
      queue.leave(place);
      this.#startNext();
    }
  }

  #startNext(): void {
    for (;;) {
      const next = this.#takeNext();
      if (next === undefined) return;
      next.start();
    }
  }

  #takeNext(): Waiting | undefined {
    const { urgent, report, ordinary } = this.#lanes;
    if (urgent.running + report.running + ordinary.running >= this.#mostInAll) return undefined;
    const nowMs = this.#options.monotonicMs();
    const takeOrdinary = () => {
      const next = ordinary.running < this.#mostOrdinary ? ordinary.take(nowMs) : undefined;
      if (next !== undefined) this.#overtaking = 0;
      return next;
    };
    const isTurnOfOrdinary = this.#overtaking >= MOST_OVERTAKING;
    const first = isTurnOfOrdinary ? takeOrdinary() : undefined;
    if (first !== undefined) return first;
    const next = this.#takeUrgentOrReport(nowMs);
    if (next === undefined) return isTurnOfOrdinary ? undefined : takeOrdinary();
    this.#overtaking = ordinary.isEmpty ? 0 : this.#overtaking + 1;
    return next;
  }

  #takeUrgentOrReport(nowMs: number): Waiting | undefined {
    const { urgent, report } = this.#lanes;
    const takeReport = () => (report.running < this.#mostReports ? report.take(nowMs) : undefined);
    const ofTurn = this.#isTurnOfReport ? takeReport() : urgent.take(nowMs);
    if (ofTurn !== undefined) {
      this.#isTurnOfReport = !this.#isTurnOfReport;
      return ofTurn;
    }
    return this.#isTurnOfReport ? urgent.take(nowMs) : takeReport();
  }
}

interface Place {
  readonly caller: string;
  readonly about: string;
}

interface Waiting extends Place {
  readonly start: () => void;
  readonly refuse: (error: ClavigerError) => void;
  /** The time at which the wait is too long. */
  readonly lateMs: number;
}

/** The work of one lane by caller; callers take turns. */
class Queue {
  readonly #lane: Lane;
  readonly #mostPerCaller: number;
  /** In the order of turns. */
  readonly #waiting = new Map<string, Waiting[]>();
  readonly #running = { callers: new Map<string, number>(), abouts: new Map<string, number>() };
  #waitingInAll = 0;
  running = 0;

  constructor(lane: Lane, mostPerCaller: number) {
    this.#lane = lane;
    this.#mostPerCaller = mostPerCaller;
  }

  get isEmpty(): boolean {
    return this.#waitingInAll === 0;
  }

  /**
   * Adds work, or refuses it if the caller has too much. If all callers together have too much, the one with the most
   * loses its last.
   */
  add(waiting: Waiting): void {
    const own = this.#waiting.get(waiting.caller) ?? [];
    const limit = MOST_WAITING_PER_CALLER[this.#lane];
    if (own.length >= limit) {
      waiting.refuse(overloaded("of the same caller", limit));
      return;
    }
    own.push(waiting);
    this.#waiting.set(waiting.caller, own);
    this.#waitingInAll += 1;
    if (this.#waitingInAll > MOST_WAITING) this.#shorten();
  }

  /** The next work that may start, counted as running from now on; undefined without one. */
  take(nowMs: number): Waiting | undefined {
    for (const [caller, waiting] of this.#waiting) {
      this.#refuseLate(waiting, nowMs);
      if (waiting.length === 0) this.#waiting.delete(caller);
      if ((this.#running.callers.get(caller) ?? 0) >= this.#mostPerCaller) continue;
      const at = waiting.findIndex(({ about }) => (this.#running.abouts.get(about) ?? 0) < MOST_ABOUT_ONE);
      const [next] = at === -1 ? [] : waiting.splice(at, 1);
      if (next === undefined) continue;
      this.#waitingInAll -= 1;
      this.#waiting.delete(caller);
      if (waiting.length > 0) this.#waiting.set(caller, waiting);
      this.#count(next, 1);
      return next;
    }
    return undefined;
  }

  leave(place: Place): void {
    this.#count(place, -1);
  }

  #count({ caller, about }: Place, by: 1 | -1): void {
    this.running += by;
    add(this.#running.callers, caller, by);
    if (about !== "") add(this.#running.abouts, about, by);
  }

  #refuseLate(waiting: Waiting[], nowMs: number): void {
    const inTime = waiting.findIndex(({ lateMs }) => lateMs > nowMs);
    const late = waiting.splice(0, inTime === -1 ? waiting.length : inTime);
    this.#waitingInAll -= late.length;
    for (const { refuse } of late) refuse(overloaded("for too long", this.#waitingInAll));
  }

  #shorten(): void {
    const longest = [...this.#waiting.values()].reduce((most, each) => (each.length >= most.length ? each : most));
    longest.pop()?.refuse(overloaded("in all", MOST_WAITING));
    this.#waitingInAll -= 1;
  }
}

function add(counts: Map<string, number>, name: string, by: number): void {
  const count = (counts.get(name) ?? 0) + by;
  if (count === 0) counts.delete(name);
  else counts.set(name, count);
}

function overloaded(which: string, calls: number): ClavigerError {
  return new ClavigerError(
    "OVERLOADED",
    `too many management calls are waiting ${which} (${calls}). Retry shortly with lower concurrency`,
    { metadata: { waiting: String(calls) } },
  );
}

/** The dependencies of management, with storage that serves one request in its turn. */
export type InTurn = (errand: Errand) => ManageDeps;

export function createInTurn(deps: ManageDeps, bulkhead: Bulkhead): InTurn {
  return (errand) => ({ ...deps, storage: bulkhead.storageFor(deps.storage, errand) });
}
