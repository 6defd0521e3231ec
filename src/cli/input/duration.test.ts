import { describe, expect, it } from "vitest";
import { parseDuration } from "./duration.ts";

describe("a duration", () => {
  it.each([
    ["0", 0],
    ["500ms", 500],
    ["30s", 30_000],
    ["15m", 900_000],
    ["24h", 86_400_000],
    ["90d", 7_776_000_000],
    ["0s", 0],
    ["36500d", 3_153_600_000_000],
  ])("of %s has its milliseconds", (text, milliseconds) => {
    expect(parseDuration(text)).toBe(milliseconds);
  });

  it.each(["", "90", "d", "90x", "1.5h", "-1s", "1h30m", " 1s", "1s ", "1S", "36501d", "999999999d", "1e3s"])(
    "written as %j is refused with the shape",
    (text) => {
      expect(() => parseDuration(text)).toThrow(/whole number and d, h, m, s or ms, such as 90d or 500ms, or 0/);
    },
  );
});
