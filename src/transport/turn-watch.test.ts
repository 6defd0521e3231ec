import { expect, it } from "vitest";
import { TurnWatch } from "./turn-watch.ts";

it("a call is too late only if its own turn has gone on for too long, and that for bringing calls", async () => {
  let nowMs = 0;
  const watch = new TurnWatch({ monotonicMs: () => nowMs, mostTurnMs: 100, leastTurnCalls: 3 });
  const bring = (calls: number) => Array.from({ length: calls }, () => watch.isOver());
  expect(bring(1)).toEqual([false]);
  nowMs += 101;
  expect(bring(4)).toEqual([false, false, true, true]);
  await new Promise(setImmediate);
  expect(bring(4)).toEqual([false, false, false, false]);
  nowMs += 100;
  expect(bring(1)).toEqual([false]);
  nowMs += 1;
  expect(bring(1)).toEqual([true]);
  await new Promise(setImmediate);
  nowMs += 101;
  expect(bring(4)).toEqual([false, false, false, false]);
});
