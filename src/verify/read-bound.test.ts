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
  bound = new ReadBound({ monotonicMs: () => nowMs, mostReads: 5, crowdedReads: 2, crowdedMs: 100 });
});

it("as many as may be have room for good", () => {
  for (let turn = 0; turn < 3; turn++) {
    begin(4);
    expect(bound.hasRoom()).toBe(true);
    begin(1);
    expect(bound.hasRoom()).toBe(false);
    nowMs += 1000;
    end(5);
  }
});

it("where that is not enough, only so many have room as need not wait, until none was refused for a while", () => {
  begin(5);
  expect([bound.hasRoom(), bound.refuse()]).toEqual([false, 5]);
  end(3);
  nowMs += 100;
  expect([bound.hasRoom(), bound.refuse()]).toEqual([false, 2]);
  end(1);
  expect(bound.hasRoom()).toBe(true);
  begin(1);
  nowMs += 100;
  expect(bound.hasRoom()).toBe(false);
  nowMs += 1;
  expect(bound.hasRoom()).toBe(true);
});
