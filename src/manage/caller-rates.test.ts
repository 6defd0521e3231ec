import { expect, it } from "vitest";
import type { Caller } from "../access/caller.ts";
import { CallerRates } from "./caller-rates.ts";

const origin = { address: "", requestId: "" };
const user = (owner: string, isAdmin = false): Caller => ({
  ...{ kind: "user", owner, isAdmin, grantableScopes: [] },
  ...origin,
});

function harness() {
  const clock = { ms: 0 };
  const users = { perHour: 60, burst: 3 };
  const rates = new CallerRates({ users, others: { perHour: 3600, burst: 10 }, monotonicMs: () => clock.ms });
  const charges = (caller: Caller, times: number) => {
    for (let done = 0; done < times; done++) {
      try {
        rates.charge(caller);
      } catch {
        return done;
      }
    }
    return times;
  };
  return { clock, rates, charges };
}

it("a user has a burst and then the rate; another user, a service and an administrator have their own", () => {
  const { clock, charges } = harness();
  expect(charges(user("eve"), 9)).toBe(3);
  expect(charges(user("ada"), 9)).toBe(3);
  expect(charges(user("root", true), 99)).toBe(10);
  const service: Caller = { kind: "service", keyId: "k", version: 1, owner: "eve", scopes: [], ...origin };
  expect(charges(service, 99)).toBe(10);
  clock.ms = 60_000;
  expect(charges(user("eve"), 9)).toBe(1);
  clock.ms = 3_600_000;
  expect(charges(user("eve"), 9)).toBe(3);
});

it("the refusal says when to retry, and then the call is accepted", () => {
  const { clock, rates, charges } = harness();
  charges(user("eve"), 3);
  expect(() => rates.charge(user("eve"))).toThrow(
    expect.objectContaining({ reason: "CALLER_RATE_EXCEEDED", retryAfterMs: 60_000 }),
  );
  clock.ms = 60_000;
  rates.charge(user("eve"));
});

it("the operator and strangers, who only report leaks, are not rated", () => {
  const { charges } = harness();
  expect(charges({ kind: "system", ...origin }, 99)).toBe(99);
  expect(charges({ kind: "anonymous", ...origin }, 99)).toBe(99);
});

it("a caller is remembered while it goes on, however many others come", () => {
  const { charges } = harness();
  charges(user("eve"), 3);
  for (let other = 0; other < 9_999; other++) charges(user(`user-${other}`), 1);
  expect(charges(user("eve"), 1)).toBe(0);
});
