import { TargetingKeyMissingError } from "@openfeature/server-sdk";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { applyRule, type FlagRule, parseFlags } from "./flag-rule.ts";

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

const EVERYBODY = { owners: new Set(), percent: undefined };

function parseRule(value: unknown): unknown {
  return parseFlags(JSON.stringify({ f: value })).get("f");
}

describe("a rule", () => {
  it.each([
    ["on", true],
    ["off", false],
    [true, true],
    [false, false],
  ])("may be plain %j", (value, isOnByDefault) => {
    expect(parseRule(value)).toEqual({ ...EVERYBODY, isOnByDefault });
    expect(parseRule({ default: value })).toEqual({ ...EVERYBODY, isOnByDefault });
  });

  it("is on if its default is absent", () => {
    expect(parseRule({})).toEqual({ ...EVERYBODY, isOnByDefault: true });
  });

  it("has a default, a percentage and owners", () => {
    expect(parseRule({ default: "off", percent: 0.5, owners: ["u1", "u2"] })).toEqual({
      owners: new Set(["u1", "u2"]),
      percent: 0.5,
      isOnByDefault: false,
    });
  });
});

it("a file holds any number of flags, also with names that objects have themselves", () => {
  const flags = parseFlags('{"a": "on", "__proto__": "off", "constructor": {"percent": 100}}');
  expect([...flags.keys()]).toEqual(["a", "__proto__", "constructor"]);
  expect(parseFlags("{}").get("toString")).toBeUndefined();
});

describe("a bad file is refused with what is wrong and what is right:", () => {
  const example = '{"enable-api-key-management": {"default": "off", "percent": 20, "owners": ["u1"]}}';

  it.each(["", "{", "on", '{"f": "on",}'])("%j, which is not JSON", (text) => {
    expect(() => parseFlags(text)).toThrow(/^is not JSON.*\. Give flags such as \{/);
  });

  it("text that is not JSON is not repeated, since it may be a secret", () => {
    const refused = () => parseFlags("clv_live_0123456789\nsecond line");
    expect(refused).toThrow(/^is not JSON/);
    expect(refused).not.toThrow(/clv|0123|second/);
  });

  it("the place is named where the parser knows it", () => {
    expect(() => parseFlags('{\n  "f": "on"\n  "g": "off"\n}')).toThrow(/^is not JSON \(line 3 column 3\)/);
  });

  it.each(["[]", "null", '"on"', "7"])("%s, which is not an object", (text) => {
    expect(() => parseFlags(text)).toThrow(`is not an object of flags. Give one such as ${example}`);
  });

  it.each(["ON", "", 1, null, ["on"]])("%j, which is no rule", (value) => {
    expect(() => parseRule(value)).toThrow(`has no rule for f. Give "on", "off" or an object as in ${example}`);
  });

  it.each([
    [{ default: "yes" }, 'default is neither "on" nor "off". Give one of them'],
    [{ default: null }, 'default is neither "on" nor "off". Give one of them'],
    [{ percent: "20" }, "percent is not a number. Give 0 to 100"],
    [{ percent: -1 }, "percent is not a number. Give 0 to 100"],
    [{ percent: 100.1 }, "percent is not a number. Give 0 to 100"],
    [{ percent: null }, "percent is not a number. Give 0 to 100"],
    [{ owners: "u1" }, 'owners is not a list of owners. Give one such as ["u1"]'],
    [{ owners: [1] }, 'owners is not a list of owners. Give one such as ["u1"]'],
    [{ owners: [""] }, 'owners is not a list of owners. Give one such as ["u1"]'],
    [{ percentage: 20 }, "percentage is unknown. A flag has default, percent and owners"],
  ])("%j", (value, problem) => {
    expect(() => parseRule(value)).toThrow(`has a bad rule for f: ${problem}`);
  });

  it("any JSON is either flags or refused with a way out", () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        try {
          expect(parseFlags(text)).toBeInstanceOf(Map);
        } catch (error) {
          expect(String(error)).toMatch(/^Error: (is not|has no|has a bad) .+\. (Give|A flag has) /);
        }
      }),
    );
  });
});
