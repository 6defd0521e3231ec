import { expect, it } from "vitest";
import { isExpired, isLive, isRetired } from "./lifecycle.ts";

const now = new Date("2026-11-30T12:00:00Z");
const later = new Date("2026-11-30T12:00:01Z");
const none = new Date(Number.NaN);

it("a secret ends at its expiry and at its retirement, the instant itself included", () => {
  expect(isLive({ expireTime: later, retireTime: null }, now)).toBe(true);
  expect(isLive({ expireTime: later, retireTime: later }, now)).toBe(true);
  expect(isExpired({ expireTime: now, retireTime: null }, now)).toBe(true);
  expect(isRetired({ expireTime: later, retireTime: now }, now)).toBe(true);
});

it("a date that is none has come: a secret with one is ended", () => {
  expect(isExpired({ expireTime: none, retireTime: null }, now)).toBe(true);
  expect(isRetired({ expireTime: later, retireTime: none }, now)).toBe(true);
  for (const ends of [
    { expireTime: none, retireTime: null },
    { expireTime: later, retireTime: none },
  ]) {
    expect(isLive(ends, now)).toBe(false);
  }
  expect(isLive({ expireTime: later, retireTime: null }, none)).toBe(false);
});
