import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isExpired } from "../keys/lifecycle.ts";
import { readEpochMs, readInstant, readInteger } from "./columns.ts";
import { apiKey, auditEvent, secretVersion } from "./schema.ts";

const FIRST = new Date("0001-01-01T00:00:00Z");
const LAST = new Date("9999-12-31T23:59:59.999Z");
const written = (date: Date) => date.toISOString().replace("T", " ").replace("Z", "+00");

describe("a time from the database", () => {
  it("is read as what Postgres meant, for every millisecond of the years 1 to 9999", () => {
    fc.assert(
      fc.property(fc.date({ min: FIRST, max: LAST, noInvalidDate: true }), (date) => {
        expect(readInstant(written(date))).toEqual(date);
        expect(readEpochMs(String(date.getTime()))).toEqual(date);
      }),
    );
  });

  it.each([
    ["2026-12-05 10:11:12.5+05:30", "2026-12-05T04:41:12.500Z"],
    ["2026-12-05 10:11:12-03", "2026-12-05T13:11:12.000Z"],
    ["2026-12-05 10:11:12.123456+00", "2026-12-05T10:11:12.123Z"],
  ])("%s is %s", (text, iso) => {
    expect(readInstant(text).toISOString()).toBe(iso);
  });

  it.each([
    ...["30/11/2026 18:08:39.5 UTC", "05/12/2026 18:08:39 UTC", "30.11.2026 18:08:39 UTC", "05.12.2026 18:08:39 UTC"],
    ...["12/05/2026 18:08:39 UTC", "Mon Nov 30 18:08:39 2026 UTC", "Mon 30 Nov 18:08:39 2026 UTC"],
    ...["", "2026-11-30", "2026-11-30 18:08:39", "2026-13-01 00:00:00+00"],
    ...["0000-01-01 00:00:00+00", "2026-11-30T18:08:39Z", "Infinity", "30/11/10026 18:08:39 UTC"],
    ...["0001-01-01 00:00:00+00:19:32", "2026-11-30 18:08:39 +00", " 2026-11-30 18:08:39+00"],
    ...[null, undefined, 0, 1_800_000_000_000, new Date(), {}],
  ])("%s is an error, never a date", (value) => {
    expect(() => readInstant(value)).toThrow("Set DateStyle to ISO");
  });

  it.each([
    "infinity",
    "-infinity",
    "10000-01-01 00:00:00+00",
    "200000-01-01 00:00:00+00",
    "0044-03-15 00:00:00+00 BC",
  ])("%s, which no answer can carry, is a date that is none and so counts as over", (text) => {
    expect(readInstant(text).getTime()).toBeNaN();
    expect(isExpired({ expireTime: readInstant(text), retireTime: null }, new Date(0))).toBe(true);
  });

  it.each(["Infinity", "-Infinity", "253402300800000", "-62135596800001"])("%s ms is none as well", (text) => {
    expect(readEpochMs(text).getTime()).toBeNaN();
  });

  it.each(["", "NaN", "1e3", "0x10", "1.5", " 1", "infinity", null])("%s is no number of milliseconds", (value) => {
    expect(() => readEpochMs(value)).toThrow();
  });
});

describe("an integer from the database", () => {
  it("is exact or an error", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (value) => {
        const isExact = Number.isSafeInteger(Number(value));
        if (isExact) expect(readInteger(String(value))).toBe(Number(value));
        else expect(() => readInteger(String(value))).toThrow("integer");
      }),
    );
  });

  it.each(["", " ", "1 ", "abc", "1.0", "1e9", "0x1", "NaN", Number.NaN, 1.5, null, undefined, true])(
    "%s is an error",
    (value) => {
      expect(() => readInteger(value)).toThrow();
    },
  );
});

it("the columns that verdicts hang on read strictly", () => {
  for (const column of [secretVersion.expireTime, secretVersion.retireTime, apiKey.revokeTime, auditEvent.time]) {
    expect(() => column.mapFromDriverValue("30/11/2026 18:08:39 UTC")).toThrow();
  }
  expect(() => apiKey.revision.mapFromDriverValue("12 345")).toThrow();
  for (const text of ['{"a":', "true", '"text"']) expect(() => apiKey.limits.mapFromDriverValue(text)).toThrow();
  expect(() => secretVersion.digest.mapFromDriverValue("\\x00" as never)).toThrow();
});
