import { expect, it } from "vitest";
import { TurnWatch } from "./turn-watch.ts";

it("a call is too late only if its own turn has gone on for too long, and that for bringing calls", async () => {
  let nowMs = 0;
  const watch = new TurnWatch({ monotonicMs: () => nowMs, mostTurnMs: 100, leastTurnCalls: 3 });
  const one = {};
  const bring = (calls: number, from = one) => Array.from({ length: calls }, () => watch.isOver(from));
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

it("who brings no more than a fair share is not refused for what another brings", async () => {
  let nowMs = 0;
  const watch = new TurnWatch({ monotonicMs: () => nowMs, mostTurnMs: 100, leastTurnCalls: 4 });
  const [flood, quiet] = [{}, {}];
  for (let i = 0; i < 5; i++) watch.isOver(flood);
  nowMs += 101;
  expect([watch.isOver(flood), watch.isOver(quiet), watch.isOver(quiet), watch.isOver(quiet)]).toEqual([
    ...[true, false, false, true],
  ]);
});

it("what a connection brought in one turn is not held against it in the next", async () => {
  let nowMs = 0;
  const watch = new TurnWatch({ monotonicMs: () => nowMs, mostTurnMs: 100, leastTurnCalls: 4 });
  const [once, flood] = [{}, {}];
  for (let i = 0; i < 5; i++) watch.isOver(once);
  await new Promise(setImmediate);
  for (let i = 0; i < 5; i++) watch.isOver(flood);
  nowMs += 101;
  expect(watch.isOver(once)).toBe(false);
});
