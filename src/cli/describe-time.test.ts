import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { describeTime } from "./describe-time.ts";

const NOW = new Date("2026-11-22T12:00:00Z");

describe("an instant", () => {
  it.each([
    ["2027-02-20T11:59:58Z", "2027-02-20 (in 90 days)"],
    ["2026-11-24T12:00:00Z", "2026-11-24 (in 2 days)"],
    ["2026-11-22T15:05:00Z", "2026-11-22 15:05 (in 3 hours)"],
    ["2026-11-22T12:30:00Z", "2026-11-22 12:30 (in 30 minutes)"],
    ["2026-11-22T12:00:20Z", "2026-11-22 12:00 (in 20 seconds)"],
    ["2026-11-22T12:00:00.400Z", "2026-11-22 12:00 (now)"],
    ["2026-11-22T09:00:00Z", "2026-11-22 09:00 (3 hours ago)"],
    ["2026-11-12T12:00:00Z", "2026-11-12 (10 days ago)"],
  ])("%s is shown as %s", (instant, shown) => {
    expect(describeTime(timestampFromDate(new Date(instant)), NOW)).toBe(shown);
  });

  it("that is not set is shown as a dash", () => {
    expect(describeTime(undefined, NOW)).toBe("–");
  });
});
