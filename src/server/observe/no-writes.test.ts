import { expect, it } from "vitest";
import { NoWrites } from "./no-writes.ts";

it("has the last reason for a minute after the last refused change, and none before and after", () => {
  let nowMs = 0;
  const noWrites = new NoWrites(() => nowMs);
  expect(noWrites.reason()).toBeUndefined();
  noWrites.note("the disk is full");
  nowMs = 60_000;
  expect(noWrites.reason()).toBe("changes failed within the last minute: the disk is full");
  noWrites.note("the database is read-only");
  nowMs = 120_000;
  expect(noWrites.reason()).toContain("the database is read-only");
  nowMs = 120_001;
  expect(noWrites.reason()).toBeUndefined();
});
