import type { Logger } from "pino";
import { ClavigerError } from "../../keys/errors.ts";
import { monotonicMs, systemTimers } from "../../system/node.ts";

export interface OutageOptions {
  readonly log: Logger;
  readonly event: string;
  /** Logged for the first failure, and for the first of each further reason, up to `mostReasons`. */
  readonly failing: string;
  /** Logged once nothing has failed for `CALM_MS` after a success. */
  readonly well: string;
  /** Further fields of each line. */
  readonly about?: Readonly<Record<string, string>>;
  /** Reasons that have a line in one outage. Default 3: some hold a number, such as a process id. */
  readonly mostReasons?: number;
}

/**
 * How long nothing may fail before an outage is over, in milliseconds: what fails and works in turns, such as one
 * connection of several, is one outage.
 */
const CALM_MS = 5000;
const MOST_REASONS = 3;

/** An outage that goes on. */
interface Ongoing {
  readonly sinceMs: number;
  readonly reasons: Set<string>;
  failures: number;
  /** When it worked first after the last failure. */
  wellMs: number | undefined;
}

/**
 * Work that is done again and again: logs when it begins to fail and when it is well again, with the number of failures
 * and how long it lasted, however many failures are between them. Each failure is a line of level `debug`.
 */
export class Outage {
  readonly #options: OutageOptions;
  #ongoing: Ongoing | undefined;
  #end: { cancel(): void } | undefined;

  constructor(options: OutageOptions) {
    this.#options = options;
  }

  failed(error: unknown): void {
    const { log, event, failing, about, mostReasons = MOST_REASONS } = this.#options;
    this.#end?.cancel();
    this.#ongoing ??= { sinceMs: monotonicMs(), reasons: new Set(), failures: 0, wellMs: undefined };
    const { reasons } = this.#ongoing;
    this.#ongoing.failures += 1;
    this.#ongoing.wellMs = undefined;
    const reason = reasonOf(error);
    const isNews = !reasons.has(reason) && reasons.size < mostReasons && !isOfStorage(error);
    if (isNews) reasons.add(reason);
    log[isNews ? "warn" : "debug"](
      { event, ...about, ...(error instanceof Error ? { err: error } : { reason }) },
      failing,
    );
  }

  succeeded(): void {
    if (this.#ongoing === undefined || this.#ongoing.wellMs !== undefined) return;
    this.#ongoing.wellMs = monotonicMs();
    this.#end = systemTimers.after(CALM_MS, () => this.#close());
  }

  /** Does the work, and notes how it ended. Never rejects. */
  async watch(work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
      this.succeeded();
    } catch (error) {
      this.failed(error);
    }
  }

  #close(): void {
    const { log, event, well, about } = this.#options;
    const { failures, sinceMs, wellMs = sinceMs, reasons } = this.#ongoing ?? NEVER;
    this.#ongoing = undefined;
    log[reasons.size > 0 ? "info" : "debug"]({ event, ...about, failures, forMs: Math.round(wellMs - sinceMs) }, well);
  }
}

const NEVER: Ongoing = { sinceMs: 0, reasons: new Set(), failures: 0, wellMs: 0 };

/** Storage has an `Outage` of its own, which says why: what fails only because of it adds no line. */
function isOfStorage(error: unknown): boolean {
  return error instanceof ClavigerError && error.reason === "STORAGE_UNAVAILABLE";
}

/** The message of the innermost cause: the outer ones are the same for all of them. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? reasonOf(error.cause) : error.message;
}
