import type { Client, EvaluationContext, EvaluationDetails } from "@openfeature/server-sdk";
import { afterEach, describe, expect, it, vi } from "vitest";
import { ClavigerError } from "../keys/errors.ts";
import { ALWAYS_ON, createFeatureFlag } from "./feature-flag.ts";

const CALLER = { kind: "service", owner: "backend" };
const FLAG = "enable-api-key-management";

afterEach(() => vi.useRealTimers());

/** The flag over a provider that answers so; what it was asked, and what was reported. */
function flagOver(answer: () => Promise<Partial<EvaluationDetails<boolean>>>) {
  const asked: unknown[] = [];
  const problems: string[] = [];
  const getBooleanDetails: Client["getBooleanDetails"] = async (flagKey, byDefault, context?: EvaluationContext) => {
    asked.push({ flagKey, byDefault, context });
    return { flagKey, flagMetadata: {}, value: byDefault, ...(await answer()) };
  };
  const flag = createFeatureFlag({
    client: { getBooleanDetails },
    onError: (error) => problems.push(error.message),
  });
  return { flag, asked, problems };
}

it.each([true, false])("is %j if the provider says so", async (value) => {
  const { flag, problems } = flagOver(async () => ({ value }));
  expect(await flag.isOn("u1", CALLER)).toBe(value);
  expect(problems).toEqual([]);
});

it("asks about the owner acted upon, by whom, and with a default of off", async () => {
  const { flag, asked } = flagOver(async () => ({ value: true }));
  await flag.isOn("u1", CALLER);
  const context = { targetingKey: "u1", callerKind: "service", callerOwner: "backend" };
  expect(asked).toEqual([{ flagKey: FLAG, byDefault: false, context }]);
});

it("asks each time, so that switching needs no restart", async () => {
  const values = [true, false, true];
  const { flag } = flagOver(async () => ({ value: values.shift() === true }));
  expect(await flag.isOn("u1", CALLER)).toBe(true);
  expect(await flag.isOn("u1", CALLER)).toBe(false);
  expect(await flag.isOn("u1", CALLER)).toBe(true);
});

describe("where it is required", () => {
  it("an owner who has it passes", async () => {
    const { flag } = flagOver(async () => ({ value: true }));
    await expect(flag.requireFeature("u1", CALLER)).resolves.toBeUndefined();
  });

  it("an owner who lacks it is refused with FEATURE_DISABLED", async () => {
    const { flag } = flagOver(async () => ({ value: false }));
    const refusal: unknown = await flag.requireFeature("u1", CALLER).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(ClavigerError);
    expect(refusal).toMatchObject({
      reason: "FEATURE_DISABLED",
      message: `API key management is off for u1. It is switched on by the operator's flag ${FLAG}`,
      metadata: { flag: FLAG, owner: "u1" },
    });
  });
});

describe("is off, and says why, if the provider", () => {
  const off = (why: string) =>
    `${FLAG} is off for u1, since it could not be evaluated: ${why}. Check what CLAVIGER_FLAGS_FILE names`;

  it("throws", async () => {
    const { flag, problems } = flagOver(() => Promise.reject(new Error("out of order")));
    expect(await flag.isOn("u1", CALLER)).toBe(false);
    expect(problems).toEqual([off("out of order")]);
  });

  it("reports an error, even beside a value of on", async () => {
    const details = { value: true, errorCode: "FLAG_NOT_FOUND", errorMessage: "no such flag" } as const;
    const { flag, problems } = flagOver(async () => details as Partial<EvaluationDetails<boolean>>);
    expect(await flag.isOn("u1", CALLER)).toBe(false);
    expect(problems).toEqual([off("no such flag (FLAG_NOT_FOUND)")]);
  });

  it.each(["true", 1, null])("answers %j, which is not a boolean", async (value) => {
    const { flag, problems } = flagOver(async () => JSON.parse(JSON.stringify({ value })));
    expect(await flag.isOn("u1", CALLER)).toBe(false);
    expect(problems).toEqual([off("the provider's answer is not a boolean")]);
  });

  it("has not answered after 500 ms", async () => {
    vi.useFakeTimers();
    const { flag, problems } = flagOver(() => new Promise(() => undefined));
    const answer = vi.fn();
    const answered = flag.isOn("u1", CALLER).then(answer);
    await vi.advanceTimersByTimeAsync(499);
    expect(answer).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1);
    await answered;
    expect(answer).toHaveBeenCalledExactlyOnceWith(false);
    expect(problems).toEqual([off("no answer within 500 ms")]);
    expect(vi.getTimerCount()).toBe(0);
  });
});

it("leaves no timer behind an answer", async () => {
  vi.useFakeTimers();
  const { flag } = flagOver(async () => ({ value: true }));
  expect(await flag.isOn("u1", CALLER)).toBe(true);
  expect(vi.getTimerCount()).toBe(0);
});

it("is on for everybody where no operator configured it", async () => {
  expect(await ALWAYS_ON.isOn("u1", CALLER)).toBe(true);
  await expect(ALWAYS_ON.requireFeature("u1", CALLER)).resolves.toBeUndefined();
});
