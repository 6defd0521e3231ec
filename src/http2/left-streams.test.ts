import { expect, it } from "vitest";
import { LeftStreams } from "./left-streams.ts";

it("as many streams are remembered as a client may take to be open, and the oldest is forgotten first", () => {
  const left = new LeftStreams(2);
  for (const id of [1, 3]) left.add(id);
  left.delete(1);
  left.add(5);
  expect([1, 3, 5].map((id) => left.has(id))).toEqual([false, true, true]);
  left.add(7);
  expect([3, 5, 7].map((id) => left.has(id))).toEqual([false, true, true]);
});
