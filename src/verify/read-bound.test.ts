import { beforeEach, expect, it } from "vitest";
import { ReadBound } from "./read-bound.ts";

let nowMs: number;
let bound: ReadBound;
const begin = (count: number) => {
  for (let i = 0; i < count; i++) bound.begin();
};
const end = (count: number) => {
  for (let i = 0; i < count; i++) bound.end();
};

beforeEach(() => {
  nowMs = 0;
  bound = new ReadBound({ monotonicMs: () => nowMs, mostReads: 5, standingReads: 2, standingReadsMs: 100 });
});

it("a burst has room up to the most, a queue that stands only up to what need not wait", () => {
  begin(4);
  expect(bound.hasRoom()).toBe(true);
  begin(1);
  expect(bound.hasRoom()).toBe(false);
  end(1);
  nowMs += 100;
  expect(bound.hasRoom()).toBe(true);
  nowMs += 1;
  expect([bound.hasRoom(), bound.most]).toEqual([false, 2]);
});

it("a queue is a burst again when it grows, once it has drained, and not before", () => {
  begin(3);
  nowMs += 101;
  end(1);
  expect(bound.most).toBe(2);
  end(2);
  expect(bound.most).toBe(5);
  begin(4);
  nowMs += 100;
  expect(bound.hasRoom()).toBe(true);
  nowMs += 1;
  expect(bound.hasRoom()).toBe(false);
});
