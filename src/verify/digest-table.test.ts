import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DigestTable } from "./digest-table.ts";

/** A digest whose first four bytes, which choose its row, are `first`, and whose 16th byte is `last`. */
function digest(first: number, last = 0): string {
  const bytes = Buffer.alloc(32, 0xa5);
  bytes.writeUInt32LE(first >>> 0);
  bytes[15] = last;
  return bytes.toString("latin1");
}

describe("a table of digests", () => {
  it("has what was inserted and not deleted, whatever rows collide and however it grows", () => {
    // Few first bytes: runs of rows that overlap, at the end of the table too. Few last bytes: digests that differ in one.
    const first = fc.oneof(fc.constantFrom(0, 1, 14, 15, 16, 31, 0xffff_ffff), fc.integer({ min: 0, max: 200 }));
    const step = fc.record({ first, last: fc.integer({ min: 0, max: 3 }), isDelete: fc.boolean() });
    const runs = fc.array(step, { maxLength: 300, size: "max" });
    fc.assert(
      fc.property(runs, (steps) => {
        const table = new DigestTable();
        const model = new Map<string, number>();
        const free = Array.from({ length: steps.length }, (_, at) => at + 1);
        for (const { first, last, isDelete } of steps) {
          const name = digest(first, last);
          const slot = model.get(name);
          expect(table.find(name)).toBe(slot ?? 0);
          if (slot !== undefined && isDelete) {
            table.delete(slot);
            model.delete(name);
            free.push(slot);
          } else if (slot === undefined) {
            const added = free.pop() as number;
            table.insert(name, added);
            model.set(name, added);
          }
          expect(table.size).toBe(model.size);
        }
        for (const [name, slot] of model) expect(table.find(name)).toBe(slot);
      }),
      { numRuns: 100 },
    );
  });

  it("compares all of the first 128 bits", () => {
    const known = Buffer.alloc(32, 0x5a);
    const table = new DigestTable();
    table.insert(known.toString("latin1"), 1);
    expect(table.find(known.toString("latin1"))).toBe(1);
    for (let bit = 0; bit < 128; bit += 1) {
      const other = Buffer.from(known);
      other[bit >> 3] = (other[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(table.find(other.toString("latin1"))).toBe(0);
    }
  });

  it("finds the rest of a long run of collisions when one of them goes", () => {
    const table = new DigestTable();
    const names = Array.from({ length: 100 }, (_, at) => digest(7, at));
    for (const [at, name] of names.entries()) table.insert(name, at + 1);
    table.delete(50);
    expect(names.map((name) => table.find(name))).toEqual(names.map((_, at) => (at === 49 ? 0 : at + 1)));
  });
});
