import { DAY_MS } from "../system/clocks.ts";

/** How much a key may be used; 0 is no limit. */
export interface Limits {
  /** Sustained rate. */
  readonly requestsPerSecond: number;
  /** Requests that may arrive at once; 0 means the sustained rate. */
  readonly burst: number;
  /** Per UTC day. */
  readonly requestsPerDay: number;
}

const NONE: Limits = { requestsPerSecond: 0, burst: 0, requestsPerDay: 0 };

/** Null for limits that restrict nothing. */
export function limitsOrNone(limits: Limits): Limits | null {
  return limits.requestsPerSecond > 0 || limits.requestsPerDay > 0 ? limits : null;
}

/** Whether `next` allows less than `before` in any limit. */
export function isLowered(before: Limits | null, next: Limits | null): boolean {
  const [from, to] = [ceilings(before ?? NONE), ceilings(next ?? NONE)];
  return to.some((ceiling, at) => ceiling < (from[at] ?? 0));
}

function ceilings({ requestsPerSecond, burst, requestsPerDay }: Limits): number[] {
  const rate = requestsPerSecond || Number.POSITIVE_INFINITY;
  return [rate, requestsPerSecond > 0 ? burst || rate : rate, requestsPerDay || Number.POSITIVE_INFINITY];
}

/** The state that a limiter keeps for one key. */
export interface Spent {
  /** When the rate has room for a full burst again, in milliseconds: the TAT of GCRA (ITU-T I.371). */
  readonly emptyMs: number;
  /** UTC day, counted from 1970; undefined if the day is not counted. */
  readonly day: number | undefined;
  /** Requests charged on that day. */
  readonly used: number;
}

/** Costs of waiting requests for one key, in their order. */
export interface ChargeOrder {
  readonly keyId: string;
  readonly limits: Limits;
  /** 0 checks whether a cost of 1 would be allowed, and charges nothing. */
  readonly costs: readonly number[];
}

/** The outcome of one charge. */
export interface Charged {
  readonly outcome: "charged" | "rate_limited" | "quota_exhausted";
  /** When to retry, in milliseconds. Undefined with `charged`, and for a cost that no retry can make fit. */
  readonly retryAfterMs?: number;
}

/**
 * Charges each cost in turn against the remainder, rate before day. A denial charges nothing; a cost of 0 only checks.
 */
export function charge(
  spent: Spent,
  limits: Limits,
  costs: readonly number[],
  nowMs: number,
): { readonly spent: Spent; readonly charged: readonly Charged[] } {
  const { requestsPerSecond: rate, requestsPerDay: perDay } = limits;
  const unitMs = rate > 0 ? 1000 / rate : 0;
  const burst = limits.burst || rate;
  let { used } = spent;
  // After a change of limits, or under a clock that was set back, it may be further away than a whole burst takes.
  let emptyMs = rate > 0 ? Math.min(spent.emptyMs, nowMs + burst * unitMs) : spent.emptyMs;
  const charged = costs.map((cost): Charged => {
    const asked = Math.max(cost, 1);
    const nextMs = Math.max(emptyMs, nowMs) + asked * unitMs;
    const earlyMs = nextMs - nowMs - burst * unitMs;
    if (rate > 0 && earlyMs > ROUNDING_MS) {
      return { outcome: "rate_limited", ...(asked > burst ? {} : { retryAfterMs: Math.ceil(earlyMs) }) };
    }
    if (perDay > 0 && used + asked > perDay) {
      const midnightMs = (Math.floor(nowMs / DAY_MS) + 1) * DAY_MS;
      return { outcome: "quota_exhausted", ...(asked > perDay ? {} : { retryAfterMs: Math.ceil(midnightMs - nowMs) }) };
    }
    if (cost > 0) {
      if (rate > 0) emptyMs = nextMs;
      used += cost;
    }
    return { outcome: "charged" };
  });
  return { spent: { ...spent, emptyMs, used }, charged };
}

/** Tolerance for the rounding of thousandths: a whole burst must fit. */
export const ROUNDING_MS = 0.001;
