import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isShowable, MOST_LEVELS, metadataProblem } from "./metadata.ts";

const lists = (levels: number): unknown => (levels === 0 ? 1 : [lists(levels - 1)]);
const objects = (levels: number): unknown => (levels === 0 ? 1 : { o: objects(levels - 1) });
const SECRET = `clv_test_${"a1B2".repeat(12)}x`;

describe("metadata", () => {
  it("may have 16 levels of objects and lists, itself the first, and not 17", () => {
    for (const inner of [lists, objects]) {
      expect(metadataProblem({ m: inner(MOST_LEVELS - 1) })).toBeUndefined();
      expect(metadataProblem({ m: inner(MOST_LEVELS) })).toMatch(/at most 16 levels/);
      expect(metadataProblem({ m: inner(5_000) })).toMatch(/at most 16 levels/);
    }
  });

  it.each([
    ["infinity", { a: Number.POSITIVE_INFINITY }],
    ["no number", { a: [Number.NaN] }],
    ["half a character", { a: "\ud800" }],
    ["half a character in a name", { a: { "\udc00": 1 } }],
    ["U+0000", { a: ["\0"] }],
    ["U+0000 in a name", { "\0": 1 }],
    ["a secret", { a: { b: [`it is ${SECRET}`] } }],
    ["a secret for a name", { [SECRET]: 1 }],
  ])("must not hold %s, and the problem quotes nothing", (_, metadata) => {
    expect(metadataProblem(metadata)).toMatch(/^must /);
    expect(metadataProblem(metadata)).not.toContain(SECRET);
  });

  it("that can be stored can be shown, whatever it is", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 20 })), (metadata) => {
        fc.pre(metadataProblem(metadata) === undefined);
        expect(isShowable(metadata)).toBe(true);
      }),
    );
  });

  it("in a row of an older server is shown up to 30 levels, and never if it is no object", () => {
    expect(isShowable({ m: objects(29) })).toBe(true);
    expect(isShowable({ m: objects(30) })).toBe(false);
    for (const odd of [7, "x", [1], null, true, { a: Number.POSITIVE_INFINITY }]) expect(isShowable(odd)).toBe(false);
  });
});
