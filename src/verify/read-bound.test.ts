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
  expect([bound.hasRoom(), bound.most]).toEqual([false, 5]);
  end(1);
  nowMs += 100;
  expect(bound.hasRoom()).toBe(true);
  nowMs += 1;
  expect([bound.hasRoom(), bound.most]).toEqual([false, 2]);
  end(3);
  expect(bound.hasRoom()).toBe(true);
});

it("a queue that is taken whole, and is there again, is no new burst", () => {
  begin(2);
  bound.hasRoom();
  for (let turn = 0; turn < 3; turn++) {
    nowMs += 50;
    end(2);
    expect(bound.hasRoom()).toBe(true);
    begin(2);
    expect(bound.hasRoom()).toBe(turn < 2);
  }
});

it("there can be the next burst once as long has passed in which nothing more was wanted", () => {
  begin(4);
  bound.hasRoom();
  nowMs += 101;
  expect(bound.hasRoom()).toBe(true);
  nowMs += 100;
  expect(bound.hasRoom()).toBe(true);
  nowMs += 1;
  expect(bound.hasRoom()).toBe(false);
});
