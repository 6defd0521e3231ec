import { type Caller, callerId } from "../access/caller.ts";
import { isAdmin } from "../access/permissions.ts";
import { ClavigerError } from "../keys/errors.ts";
import { charge, type Limits } from "../keys/limits.ts";

/** Maximum rate at which one caller may change keys through one process. */
export interface CallerRatesOptions {
  /** For users without administrator rights. */
  readonly users: Rate;
  /** For services and administrators. */
  readonly others: Rate;
  readonly monotonicMs: () => number;
}

export interface Rate {
  readonly perHour: number;
  /** Changes at once after a pause. */
  readonly burst: number;
}

/** Maximum of remembered callers. Beyond it, the caller without a change for the longest time is forgotten. */
const MOST_CALLERS = 10_000;

const HOUR_S = 3600;

/** A token bucket for each caller of the methods that create rows. */
export class CallerRates {
  readonly #options: CallerRatesOptions;
  /** When each caller's bucket is full again, in the order of the last charge. */
  readonly #fullMs = new Map<string, number>();

  constructor(options: CallerRatesOptions) {
    this.#options = options;
  }

  /**
   * Charges one change.
   *
   * @throws ClavigerError `CALLER_RATE_EXCEEDED`.
   */
  charge(caller: Caller): void {
    if (caller.kind !== "user" && caller.kind !== "service") return;
    const { users, others, monotonicMs } = this.#options;
    const { perHour, burst } = caller.kind === "user" && !isAdmin(caller) ? users : others;
    const limits: Limits = { requestsPerSecond: perHour / HOUR_S, burst, requestsPerDay: 0 };
    const id = callerId(caller);
    const before = { emptyMs: this.#fullMs.get(id) ?? 0, day: undefined, used: 0 };
    const { spent, charged } = charge(before, limits, [1], monotonicMs());
    if (charged[0]?.outcome !== "charged") throw rateExceeded({ perHour, burst }, charged[0]?.retryAfterMs ?? 0);
    this.#fullMs.delete(id);
    this.#fullMs.set(id, spent.emptyMs);
    const [oldest] = this.#fullMs.size > MOST_CALLERS ? this.#fullMs.keys() : [];
    if (oldest !== undefined) this.#fullMs.delete(oldest);
  }
}

function rateExceeded({ perHour, burst }: Rate, retryAfterMs: number): ClavigerError {
  return new ClavigerError(
    "CALLER_RATE_EXCEEDED",
    `the caller changes keys too often: ${burst} at once and ${perHour} an hour are allowed. Retry after ${Math.ceil(retryAfterMs / 1000)} s. Revoking is always allowed`,
    {
      metadata: { per_hour: String(perHour), burst: String(burst), retry_after_ms: String(retryAfterMs) },
      retryAfterMs,
    },
  );
}
