import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { Sieve } from "./sieve.ts";

interface Entry {
  readonly place: string;
  isUsed: boolean;
}

let gone: string[];
let sieve: Sieve<Entry>;
const entry = (place: string): Entry => ({ place, isUsed: false });
const fill = (...places: readonly string[]) => {
  for (const place of places) sieve.set(entry(place));
};

beforeEach(() => {
  gone = [];
  sieve = new Sieve(3, ({ place }) => gone.push(place));
});

describe("a sieve that is full", () => {
  it("gives up the oldest that nobody has used", () => {
    fill("a", "b", "c", "d", "e");
    expect(gone).toEqual(["a", "b"]);
  });

  it("keeps what was used since the hand last came by, and gives up the next", () => {
    fill("a", "b", "c");
    sieve.get("a");
    fill("d");
    expect(gone).toEqual(["b"]);
    sieve.get("c");
    fill("e");
    expect(gone).toEqual(["b", "d"]);
    fill("f");
    expect(gone).toEqual(["b", "d", "e"]);
  });

  it("gives one up though all are in use", () => {
    fill("a", "b", "c");
    for (const place of ["a", "b", "c"]) sieve.get(place);
    fill("d");
    expect(gone).toEqual(["a"]);
    expect(sieve.size).toBe(3);
  });

  it("replaces an entry in its place without giving up another", () => {
    fill("a", "b", "c", "a");
    expect(gone).toEqual(["a"]);
    expect(sieve.size).toBe(3);
  });
});

it("whatever happens, it has what was put in and neither given up nor deleted, and never more than it may", () => {
  const place = fc.constantFrom(..."abcdefgh");
  const step = fc.record({ what: fc.constantFrom("set", "get", "delete", "clear"), place });
  const weighted = fc.array(fc.oneof({ weight: 9, arbitrary: step.filter(({ what }) => what !== "clear") }, step));
  fc.assert(
    fc.property(weighted, fc.integer({ min: 1, max: 5 }), (steps, capacity) => {
      const kept = new Map<string, Entry>();
      const own = new Sieve<Entry>(capacity, (lost) => {
        expect(kept.get(lost.place)).toBe(lost);
        kept.delete(lost.place);
      });
      for (const { what, place: at } of steps) {
        const known = kept.get(at);
        if (what === "get") expect(own.get(at)).toBe(known);
        if (what === "delete" && known !== undefined) own.delete(known);
        if (what === "set") {
          const added = entry(at);
          own.set(added);
          kept.set(at, added);
        }
        if (what === "clear") {
          own.clear();
          kept.clear();
        }
        expect(own.size).toBe(kept.size);
        expect(own.size).toBeLessThanOrEqual(capacity);
      }
    }),
  );
});
