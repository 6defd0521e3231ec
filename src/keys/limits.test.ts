import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DAY_MS } from "../system/clocks.ts";
import { charge, isLowered, type Limits, limitsOrNone, type Spent } from "./limits.ts";

const NOON = 20_000 * DAY_MS + DAY_MS / 2;
const FRESH: Spent = { emptyMs: 0, day: 20_000, used: 0 };
const none: Limits = { requestsPerSecond: 0, burst: 0, requestsPerDay: 0 };

describe("limits", () => {
  it("are none where they limit nothing", () => {
    expect(limitsOrNone(none)).toBeNull();
    expect(limitsOrNone({ ...none, requestsPerDay: 1 })).toEqual({ ...none, requestsPerDay: 1 });
  });

  it.each<[Partial<Limits> | null, Partial<Limits> | null, boolean]>([
    [null, { requestsPerDay: 5 }, true],
    [{ requestsPerDay: 5 }, null, false],
    [{ requestsPerDay: 5 }, { requestsPerDay: 4 }, true],
    [{ requestsPerDay: 5 }, { requestsPerDay: 6 }, false],
    [{ requestsPerSecond: 5 }, { requestsPerSecond: 5, burst: 5 }, false],
    [{ requestsPerSecond: 5, burst: 10 }, { requestsPerSecond: 5 }, true],
    [{ requestsPerSecond: 5 }, { requestsPerSecond: 6, burst: 5 }, false],
    [{ requestsPerSecond: 5 }, { requestsPerDay: 100 }, true],
    [null, null, false],
  ])("are lowered or not: from %j to %j is %s", (before, next, expected) => {
    const whole = (limits: Partial<Limits> | null) => limits && { ...none, ...limits };
    expect(isLowered(whole(before), whole(next))).toBe(expected);
  });
});

describe("charging", () => {
  const perDay = (requestsPerDay: number) => ({ ...none, requestsPerDay });

  it("gives a whole burst at once, then the rate, and says when to ask again", () => {
    const limits = { ...none, requestsPerSecond: 10, burst: 3 };
    const first = charge(FRESH, limits, [1, 1, 1, 1], NOON);
    expect(first.charged.map(({ outcome }) => outcome)).toEqual(["charged", "charged", "charged", "rate_limited"]);
    expect(first.charged[3]?.retryAfterMs).toBe(100);
    expect(charge(first.spent, limits, [1], NOON + 99).charged[0]?.outcome).toBe("rate_limited");
    expect(charge(first.spent, limits, [1], NOON + 100).charged[0]?.outcome).toBe("charged");
  });

  it("ends with the day, and says when the next begins", () => {
    const { charged, spent } = charge(FRESH, perDay(2), [1, 1, 1], NOON);
    expect(charged[2]).toEqual({ outcome: "quota_exhausted", retryAfterMs: DAY_MS / 2 });
    expect(spent.used).toBe(2);
  });

  it("charges nothing for a denial, and what is smaller may still fit", () => {
    const { charged, spent } = charge(FRESH, perDay(5), [3, 3, 2, 1], NOON);
    expect(charged.map(({ outcome }) => outcome)).toEqual(["charged", "quota_exhausted", "charged", "quota_exhausted"]);
    expect(spent.used).toBe(5);
  });

  it("charges both or neither", () => {
    const limits = { requestsPerSecond: 1, burst: 10, requestsPerDay: 1 };
    const { spent } = charge(FRESH, limits, [1], NOON);
    expect(charge(spent, limits, [1], NOON).spent).toEqual(spent);
  });

  it("looks for 0 whether 1 could be had, and charges nothing", () => {
    const { charged, spent } = charge(FRESH, perDay(1), [0, 0, 1, 0], NOON);
    expect(charged.map(({ outcome }) => outcome)).toEqual(["charged", "charged", "charged", "quota_exhausted"]);
    expect(spent.used).toBe(1);
  });

  it("forgets what only other limits, or a clock that was set back, would make it wait for", () => {
    const slow = { ...none, requestsPerSecond: 1, burst: 3600 };
    const { spent } = charge(FRESH, slow, [3600], NOON);
    const fast = charge(spent, { ...none, requestsPerSecond: 1000 }, [1], NOON);
    expect(fast.charged[0]).toEqual({ outcome: "rate_limited", retryAfterMs: 1 });
    const back = charge(spent, slow, [1], NOON - 3_600_000);
    expect(back.charged[0]).toEqual({ outcome: "rate_limited", retryAfterMs: 1000 });
  });

  it("names no time for what can never be had", () => {
    expect(charge(FRESH, perDay(5), [6], NOON).charged).toEqual([{ outcome: "quota_exhausted" }]);
    const rate = { ...none, requestsPerSecond: 5, burst: 2 };
    expect(charge(FRESH, rate, [3], NOON).charged).toEqual([{ outcome: "rate_limited" }]);
  });

  it("never lets more through than a burst and the rate since, nor than a day, in whatever order requests come", () => {
    const arrivals = fc.array(fc.tuple(fc.integer({ min: 0, max: 400 }), fc.integer({ min: 0, max: 5 })), {
      maxLength: 80,
    });
    const numbers = fc.record({
      requestsPerSecond: fc.integer({ min: 0, max: 2000 }),
      burst: fc.integer({ min: 0, max: 20 }),
      requestsPerDay: fc.integer({ min: 0, max: 60 }),
    });
    fc.assert(
      fc.property(numbers, arrivals, (limits, requests) => {
        let [spent, nowMs, charged] = [FRESH, NOON, 0];
        for (const [pauseMs, cost] of requests) {
          nowMs += pauseMs;
          const result = charge(spent, limits, [cost], nowMs);
          spent = result.spent;
          if (result.charged[0]?.outcome === "charged") charged += cost;
          const { requestsPerSecond: rate, requestsPerDay: perDay } = limits;
          if (rate > 0)
            expect(charged).toBeLessThanOrEqual((limits.burst || rate) + ((nowMs - NOON) * rate) / 1000 + 1e-3);
          if (perDay > 0) expect(charged).toBeLessThanOrEqual(perDay);
        }
      }),
    );
  });
});
