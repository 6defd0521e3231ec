import { beforeEach, describe, expect, it } from "vitest";
import { FakeClocks } from "../../testkit/fakes/fake-clocks.ts";
import { Slots, type Turn } from "./slots.ts";

const WITHIN_MS = 1000;
let clocks: FakeClocks;
let served: string[];
let slots: Slots;

beforeEach(() => {
  clocks = new FakeClocks();
  served = [];
  slots = new Slots({ count: 1, mostWaiting: 4, timers: clocks });
});

async function wait(name: string, group = name): Promise<Turn | undefined> {
  const turn = await slots.take(group, WITHIN_MS);
  if (turn === "slot") served.push(name);
  return turn;
}

describe("a slot", () => {
  it("goes first to the one that has waited longest", async () => {
    expect(slots.take("x", WITHIN_MS)).toBeUndefined();
    const waiting = ["first", "second", "third"].map((name) => wait(name, "one address"));
    for (const _ of waiting) slots.release();
    await Promise.all(waiting);
    expect(served).toEqual(["first", "second", "third"]);
  });

  it("is free if nobody waits for it", () => {
    expect(slots.take("x", WITHIN_MS)).toBeUndefined();
    slots.release();
    expect(slots.take("x", WITHIN_MS)).toBeUndefined();
    expect(slots.take("x", WITHIN_MS)).toBeInstanceOf(Promise);
  });

  it("goes to each address in turn, however many of one wait", async () => {
    slots.take("x", WITHIN_MS);
    const waiting = ["flood1", "flood2", "flood3"].map((name) => wait(name, "flood"));
    waiting.push(wait("other"));
    for (const _ of waiting) slots.release();
    await Promise.all(waiting);
    expect(served).toEqual(["flood1", "other", "flood2", "flood3"]);
  });

  it("is not waited for beyond the time given, nor kept by the one that left", async () => {
    slots.take("x", WITHIN_MS);
    const late = wait("late");
    await clocks.pass(WITHIN_MS);
    expect(await late).toBe("late");
    slots.release();
    expect(slots.take("x", WITHIN_MS)).toBeUndefined();
  });

  it("is waited for by so many at most: the largest group loses its newest", async () => {
    slots.take("x", WITHIN_MS);
    const flood = [1, 2, 3, 4].map((at) => wait(`flood${at}`, "flood"));
    const more = wait("flood5", "flood");
    expect(await more).toBe("crowded");
    const other = wait("other");
    expect(await flood[3]).toBe("crowded");
    for (let at = 0; at < 4; at++) slots.release();
    await Promise.all([...flood, other]);
    expect(served).toEqual(["flood1", "other", "flood2", "flood3"]);
  });

  it("is not taken from one address for a new one where all wait for one", async () => {
    slots.take("x", WITHIN_MS);
    const first = ["a", "b", "c", "d"].map((name) => wait(name));
    expect(await wait("e")).toBe("crowded");
    for (const _ of first) slots.release();
    expect(await Promise.all(first)).toEqual(["slot", "slot", "slot", "slot"]);
  });
});
