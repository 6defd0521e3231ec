import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { LineBatch } from "./line-batch.ts";

let written: string[];
let lines: LineBatch;

beforeEach(() => {
  vi.useFakeTimers();
  written = [];
  lines = new LineBatch({ size: 10, write: (text) => written.push(text) });
});
afterEach(() => vi.useRealTimers());

it("lines are written together, in order, once there are enough of them", () => {
  for (const line of ["one\n", "two\n", "three\n", "four\n"]) lines.add(line);
  expect(written).toEqual(["one\ntwo\nthree\n"]);
  lines.flush();
  expect(written).toEqual(["one\ntwo\nthree\n", "four\n"]);
});

it("no line waits longer than a tenth of a second for others, and none is written twice", () => {
  lines.add("one\n");
  vi.advanceTimersByTime(60);
  lines.add("two\n");
  vi.advanceTimersByTime(39);
  expect(written).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(written).toEqual(["one\ntwo\n"]);
  vi.advanceTimersByTime(1000);
  lines.flush();
  expect(written).toEqual(["one\ntwo\n"]);
});
