import { TargetingKeyMissingError } from "@openfeature/server-sdk";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { applyRule, type FlagRule } from "./flag-rule.ts";

const FLAG = "enable-api-key-management";
const OWNERS = Array.from({ length: 10_000 }, (_, index) => `owner-${index}`);

function rule(changes: Partial<FlagRule> = {}): FlagRule {
  return { owners: new Set(), percent: undefined, isOnByDefault: true, ...changes };
}

function isOn(changes: Partial<FlagRule>, targetingKey: string, flag = FLAG): boolean {
  return applyRule({ flag, rule: rule(changes), targetingKey }).value;
}

function ownersWith(percent: number, flag = FLAG): string[] {
  return OWNERS.filter((owner) => isOn({ percent }, owner, flag));
}

describe("the default", () => {
  it.each([
    [true, "on"],
    [false, "off"],
  ])("%j decides for everybody where nothing else is said", (isOnByDefault, variant) => {
    const expected = { value: isOnByDefault, variant, reason: "STATIC" };
    expect(applyRule({ flag: FLAG, rule: rule({ isOnByDefault }), targetingKey: "u1" })).toEqual(expected);
    expect(applyRule({ flag: FLAG, rule: rule({ isOnByDefault }), targetingKey: undefined })).toEqual(expected);
  });

  it("decides for owners who are not listed", () => {
    const listed = rule({ owners: new Set(["u1"]), isOnByDefault: false });
    expect(applyRule({ flag: FLAG, rule: listed, targetingKey: "u2" })).toEqual({
      value: false,
      variant: "off",
      reason: "DEFAULT",
    });
  });
});

describe("the list of owners", () => {
  it("wins over a default of off and a percentage of 0", () => {
    const listed = rule({ owners: new Set(["u1"]), percent: 0, isOnByDefault: false });
    expect(applyRule({ flag: FLAG, rule: listed, targetingKey: "u1" })).toEqual({
      value: true,
      variant: "on",
      reason: "TARGETING_MATCH",
    });
  });

  it("never holds an owner without a name", () => {
    expect(isOn({ owners: new Set(["u1"]), isOnByDefault: false }, "")).toBe(false);
  });
});

describe("the percentage", () => {
  it.each([1, 20, 50, 99])("has %i of a hundred owners on, within one and a half", (percent) => {
    expect(Math.abs(ownersWith(percent).length / 100 - percent)).toBeLessThan(1.5);
  });

  it("has nobody on at 0 and everybody at 100, whatever the default", () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.boolean(), (owner, isOnByDefault) => {
        expect(isOn({ percent: 0, isOnByDefault }, owner)).toBe(false);
        expect(isOn({ percent: 100, isOnByDefault }, owner)).toBe(true);
      }),
    );
  });

  it("never takes the flag from an owner when it is raised", () => {
    const percentage = fc.double({ min: 0, max: 100, noNaN: true });
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), percentage, percentage, (owner, a, b) => {
        const [low, high] = a < b ? [a, b] : [b, a];
        if (isOn({ percent: low }, owner)) expect(isOn({ percent: high }, owner)).toBe(true);
      }),
      { numRuns: 1000 },
    );
    const half = new Set(ownersWith(50));
    expect(ownersWith(20).every((owner) => half.has(owner))).toBe(true);
  });

  it("spreads evenly over each tenth, so that raising it by ten adds a tenth", () => {
    const shares = Array.from({ length: 11 }, (_, step) => ownersWith(step * 10).length);
    const added = shares.slice(1).map((share, index) => share - (shares[index] ?? 0));
    for (const tenth of added) expect(Math.abs(tenth - 1000)).toBeLessThan(150);
  });

  it("picks the same owners in every version of Claviger", () => {
    const first = OWNERS.slice(0, 40).filter((owner) => isOn({ percent: 20 }, owner));
    expect(first).toMatchInlineSnapshot(`
      [
        "owner-4",
        "owner-6",
        "owner-9",
        "owner-14",
        "owner-19",
        "owner-28",
        "owner-30",
        "owner-32",
        "owner-34",
        "owner-39",
      ]
    `);
  });

  it("picks other owners for another flag", () => {
    const here = new Set(ownersWith(20));
    const both = ownersWith(20, "another-flag").filter((owner) => here.has(owner));
    expect(Math.abs(both.length - 400)).toBeLessThan(100);
  });

  it("says SPLIT, and refuses to split nobody", () => {
    expect(applyRule({ flag: FLAG, rule: rule({ percent: 100 }), targetingKey: "u1" }).reason).toBe("SPLIT");
    for (const targetingKey of ["", undefined]) {
      const split = () => applyRule({ flag: FLAG, rule: rule({ percent: 100 }), targetingKey });
      expect(split).toThrow(TargetingKeyMissingError);
    }
  });
});
