import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FairShares } from "./fair-shares.ts";

interface Member {
  readonly group: string;
}

/** As a server with room for so many uses them. */
class House {
  readonly shares = new FairShares<Member>();
  readonly #most: number;

  constructor(most: number) {
    this.#most = most;
  }

  /** Whether it was let in. */
  enter(group: string): boolean {
    if (this.shares.size >= this.#most) {
      const displaced = this.shares.displacedFor(group);
      if (displaced === undefined) return false;
      this.shares.delete(displaced);
    }
    this.shares.add(group, { group });
    return true;
  }

  count(group: string): number {
    return [...this.shares.members()].filter((member) => member.group === group).length;
  }
}

const GROUPS = ["a", "b", "c", "d"];

describe("fair shares", () => {
  it("give one group everything while it is alone", () => {
    const house = new House(10);
    for (let count = 0; count < 10; count++) expect(house.enter("a")).toBe(true);
    expect(house.enter("a")).toBe(false);
  });

  it("make room for others up to an equal share, from the oldest of the largest group", () => {
    const house = new House(10);
    for (let count = 0; count < 10; count++) house.enter("a");
    const [oldest] = house.shares.members();
    expect(house.shares.displacedFor("b")).toBe(oldest);
    for (let count = 0; count < 10; count++) house.enter("b");
    expect([house.count("a"), house.count("b")]).toEqual([5, 5]);
    expect([house.enter("a"), house.enter("b")]).toEqual([false, false]);
  });

  it("let every group have its fair share, whatever another one does", () => {
    const step = fc.record({ group: fc.constantFrom(...GROUPS), leaves: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), fc.integer({ min: 4, max: 20 }), (steps, most) => {
        const house = new House(most);
        for (const { group, leaves } of steps) {
          const before = house.count(group);
          const member = [...house.shares.members()].find((one) => one.group === group);
          if (leaves && member !== undefined) house.shares.delete(member);
          const left = house.count(group);
          const isIn = house.enter(group);
          expect(house.shares.size).toBeLessThanOrEqual(most);
          expect(house.count(group)).toBe(isIn ? left + 1 : left);
          // A group below its share is never refused.
          if (before < Math.floor(most / GROUPS.length)) expect(isIn).toBe(true);
          const largest = Math.max(...GROUPS.map((name) => house.count(name)));
          const oldest = house.shares.oldestOfLargest();
          expect(oldest === undefined ? 0 : house.count(oldest.group)).toBe(largest);
        }
      }),
    );
  });
});
