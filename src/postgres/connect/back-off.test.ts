import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { BackOff } from "./back-off.ts";

describe("a back-off", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  /** Attempts that are let through in `ms` milliseconds, each failing at once, tried each millisecond. */
  function attemptsIn(ms: number, backOff: BackOff<string>, ways: readonly string[]): number {
    let attempts = 0;
    for (let at = 0; at < ms; at++) {
      for (const way of ways) {
        try {
          backOff.begin();
        } catch {
          continue;
        }
        attempts += 1;
        backOff.failed(way, new Error("refused"));
      }
      vi.advanceTimersByTime(1);
    }
    return attempts;
  }

  it("lets through fewer and fewer rounds of attempts while all fail, down to two a second", () => {
    const backOff = new BackOff<string>({ ways: 2, jitter: () => 1 });
    expect(attemptsIn(1000, backOff, ["a", "b"])).toBeLessThanOrEqual(2 * 8);
    expect(attemptsIn(10_000, backOff, ["a", "b"])).toBeLessThanOrEqual(2 * 21);
  });

  it("says the last failure meanwhile", () => {
    const backOff = new BackOff<string>({ ways: 1, jitter: () => 1 });
    backOff.begin();
    backOff.failed("a", new Error("refused"));
    expect(() => backOff.begin()).toThrow("refused");
  });

  it("lets one attempt at a time through after a failure, and any number after a success", () => {
    const backOff = new BackOff<string>({ ways: 1, jitter: () => 1 });
    backOff.failed("a", new Error("refused"));
    vi.advanceTimersByTime(1000);
    backOff.begin();
    expect(() => backOff.begin()).toThrow("refused");
    backOff.succeeded();
    for (let i = 0; i < 10; i++) backOff.begin();
  });

  it("does not pause while another way is untried, nor after one that worked", () => {
    const backOff = new BackOff<string>({ ways: 2, jitter: () => 1 });
    for (let i = 0; i < 10; i++) {
      backOff.begin();
      backOff.failed("a", new Error("refused"));
      backOff.begin();
      backOff.succeeded();
    }
  });
});
