import { expect, it } from "vitest";
import { FakeClocks } from "../../testkit/fakes/fake-clocks.ts";
import type { FoundSecret } from "../keys/cached-secret.ts";
import { BatchedFind } from "./batched-find.ts";

const DIGESTS = ["a", "b", "c", "d", "e"].map((name) => Buffer.from(name));
const [a, b, c, d, e] = DIGESTS as [Buffer, Buffer, Buffer, Buffer, Buffer];

/** Statements as they began, each ended by its `done`. */
function storage() {
  const statements: { readonly digests: string; readonly done: PromiseWithResolvers<Map<string, FoundSecret>> }[] = [];
  const find = (digests: readonly Buffer[]) => {
    const done = Promise.withResolvers<Map<string, FoundSecret>>();
    statements.push({ digests: Buffer.concat([...digests]).toString(), done });
    return done.promise;
  };
  const end = async (at: number) => {
    statements[at]?.done.resolve(new Map());
    await new Promise(setImmediate);
  };
  return { find, end, begun: () => statements.map(({ digests }) => digests), statements };
}

it("look-ups of one turn are one statement, and no more than so many are under way", async () => {
  const { find: findAll, end, begun } = storage();
  const batched = new BatchedFind({ find: findAll, timers: new FakeClocks(), mostFinds: 2, findWaitMs: 100 });
  const find = async (...digests: Buffer[]) => {
    const found = digests.map((digest) => batched.find(digest));
    await new Promise(setImmediate);
    return found;
  };
  await find(a, b);
  await find(c);
  const waiting = [...(await find(d)), ...(await find(e))];
  expect(begun()).toEqual(["ab", "c"]);
  await end(1);
  // All that waited, as one.
  expect(begun()).toEqual(["ab", "c", "de"]);
  await end(2);
  expect(await Promise.all(waiting)).toEqual([undefined, undefined]);
});

it("a statement that fails lets the next begin", async () => {
  const { find, end, begun, statements } = storage();
  const batched = new BatchedFind({ find, timers: new FakeClocks(), mostFinds: 1, findWaitMs: 100 });
  const lost = batched.find(a);
  await new Promise(setImmediate);
  const found = batched.find(b);
  statements[0]?.done.reject(new Error("lost"));
  await expect(lost).rejects.toThrow("lost");
  await end(1);
  expect(await found).toBeUndefined();
  expect(begun()).toEqual(["a", "b"]);
});

it("statements that hang make others wait for a while only", async () => {
  const { find, begun } = storage();
  const clocks = new FakeClocks();
  const batched = new BatchedFind({ find, timers: clocks, mostFinds: 1, findWaitMs: 100 });
  void batched.find(a);
  await clocks.pass(0);
  void batched.find(b);
  await clocks.pass(99);
  void batched.find(c);
  expect(begun()).toEqual(["a"]);
  await clocks.pass(1);
  expect(begun()).toEqual(["a", "bc"]);
});
