import { expect, it } from "vitest";
import { shareCollections } from "./shared-text.ts";

/** Collections that the test ends by hand. */
function controlled(pauseMs = 0) {
  const begun: PromiseWithResolvers<string>[] = [];
  const read = shareCollections(() => {
    const collection = Promise.withResolvers<string>();
    begun.push(collection);
    return collection.promise;
  }, pauseMs);
  return { begun, read };
}

it("callers that come during a collection share the next one, which begins after the first has ended", async () => {
  const { begun, read } = controlled();
  const first = read();
  await expect.poll(() => begun.length).toBe(1);
  const others = [read(), read(), read()];
  await new Promise(setImmediate);
  expect(begun.length).toBe(1);
  begun[0]?.resolve("one");
  expect(await first).toBe("one");
  await expect.poll(() => begun.length).toBe(2);
  begun[1]?.resolve("two");
  expect(await Promise.all(others)).toEqual(["two", "two", "two"]);
  expect(begun.length).toBe(2);
});

it("any number of calls in a row makes one collection per pause at most", async () => {
  let collections = 0;
  const read = shareCollections(async () => String(++collections), 60_000);
  expect(await read()).toBe("1");
  for (let call = 0; call < 1000; call++) void read();
  await new Promise(setImmediate);
  expect(collections).toBe(1);
});

it("a collection that fails fails its callers, and the next one is tried", async () => {
  const { begun, read } = controlled();
  const first = read();
  await expect.poll(() => begun.length).toBe(1);
  begun[0]?.reject(new Error("broken"));
  await expect(first).rejects.toThrow("broken");
  const second = read();
  await expect.poll(() => begun.length).toBe(2);
  begun[1]?.resolve("well");
  expect(await second).toBe("well");
});
