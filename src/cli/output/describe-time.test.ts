import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { createTimes } from "./describe-time.ts";

function timesIn(timeZone: string) {
  return createTimes({ now: () => new Date("2026-11-22T12:00:00Z"), timeZone });
}

describe("an instant", () => {
  it.each([
    ["2027-02-20T11:59:58Z", "2027-02-20 (in 90 days)", "2027-02-20"],
    ["2026-11-24T12:00:00Z", "2026-11-24 (in 2 days)", "2026-11-24"],
    ["2026-11-22T15:05:00Z", "2026-11-22 15:05 UTC (in 3 hours)", "in 3 hours"],
    ["2026-11-22T12:30:00Z", "2026-11-22 12:30 UTC (in 30 minutes)", "in 30 minutes"],
    ["2026-11-22T12:00:20Z", "2026-11-22 12:00 UTC (in 20 seconds)", "in 20 seconds"],
    ["2026-11-22T12:00:00.400Z", "2026-11-22 12:00 UTC (now)", "now"],
    ["2026-11-22T09:00:00Z", "2026-11-22 09:00 UTC (3 hours ago)", "3 hours ago"],
    ["2026-11-12T12:00:00Z", "2026-11-12 (10 days ago)", "2026-11-12"],
  ])("%s is shown as %s, or as %s", (instant, shown, short) => {
    const timestamp = timestampFromDate(new Date(instant));
    expect(timesIn("UTC").describe(timestamp)).toBe(shown);
    expect(timesIn("UTC").abbreviate(timestamp)).toBe(short);
  });

  it("is shown in the time zone of the shell, with the zone", () => {
    const midnight = timestampFromDate(new Date("2026-11-23T00:00:00Z"));
    expect(timesIn("America/New_York").describe(midnight)).toBe("2026-11-22 19:00 EST (in 12 hours)");
    expect(timesIn("Asia/Kolkata").clock(midnight)).toBe("2026-11-23 05:30 GMT+5:30");
  });

  it("that is not set is shown as a dash", () => {
    expect(timesIn("UTC").describe(undefined)).toBe("–");
  });
});
