import { expect, it } from "vitest";
import { drawBars } from "./bars.ts";

it("the largest count has a full bar, others their share of it, and only 0 none", () => {
  expect(drawBars([4000, 2000, 50, 1, 0])).toEqual(["█".repeat(40), "█".repeat(20), "▌", "▏", ""]);
  expect(drawBars([0, 0])).toEqual(["", ""]);
  expect(drawBars([])).toEqual([]);
});
