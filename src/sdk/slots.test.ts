import { expect, it } from "vitest";
import { Slots } from "./slots.ts";

it("who has waited longest for a slot has it first", async () => {
  const slots = new Slots(1);
  expect(slots.take()).toBeUndefined();
  const served: string[] = [];
  const waiting = ["first", "second", "third"].map((name) => slots.take()?.then(() => served.push(name)));
  for (const _ of waiting) slots.release();
  await Promise.all(waiting);
  expect(served).toEqual(["first", "second", "third"]);
});

it("a slot that nobody waits for is free", () => {
  const slots = new Slots(1);
  expect(slots.take()).toBeUndefined();
  slots.release();
  expect(slots.take()).toBeUndefined();
  expect(slots.take()).toBeInstanceOf(Promise);
});
