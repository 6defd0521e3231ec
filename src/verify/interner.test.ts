import { expect, it } from "vitest";
import { Interner } from "./interner.ts";

it("equal lists become one, and no other list does", () => {
  const lists = new Interner();
  const first = lists.share(["a", "b"]);
  expect(lists.share(["a", "b"])).toBe(first);
  expect(Object.isFrozen(first)).toBe(true);
  for (const other of [[], [""], ["a"], ["b", "a"], ["ab"], ["a\0b"]]) expect(lists.share(other)).toEqual(other);
  expect(lists.share(["a", "b"])).toEqual(["a", "b"]);
});

it("forgets what it knows rather than grow without end, and goes on", () => {
  const lists = new Interner();
  const first = lists.share(["0"]);
  for (let i = 1; i <= 10_000; i++) lists.share([String(i)]);
  expect(lists.share(["0"])).not.toBe(first);
  expect(lists.share(["0"])).toEqual(["0"]);
});
