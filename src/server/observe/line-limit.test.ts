import { expect, it } from "vitest";
import { FakeClocks } from "../../../testkit/fakes/fake-clocks.ts";
import { LineLimit } from "./line-batch.ts";

function open() {
  const clocks = new FakeClocks();
  const leftOut: [string, number][] = [];
  const onLeftOut = (kind: string, count: number) => leftOut.push([kind, count]);
  return { clocks, leftOut, limit: new LineLimit({ timers: clocks, most: 2, periodMs: 1000, onLeftOut }) };
}

it("writes the first lines of a kind in each period, and counts the others at its end", async () => {
  const { clocks, leftOut, limit } = open();
  expect([1, 2, 3, 4, 5].map(() => limit.allows("a"))).toEqual([true, true, false, false, false]);
  expect(limit.allows("b")).toBe(true);
  await clocks.pass(999);
  expect(leftOut).toEqual([]);
  await clocks.pass(1);
  expect(leftOut).toEqual([["a", 3]]);
  expect(limit.allows("a")).toBe(true);
  await clocks.pass(1000);
  expect(leftOut).toHaveLength(1);
});

it("keeps a bounded number of kinds, however many come", async () => {
  const { clocks, leftOut, limit } = open();
  const written = Array.from({ length: 10_000 }, (_, at) => limit.allows(`kind ${at}`)).filter((is) => is);
  expect(written).toHaveLength(200 + 2);
  await clocks.pass(1000);
  expect(leftOut).toEqual([["other messages", 9798]]);
});
