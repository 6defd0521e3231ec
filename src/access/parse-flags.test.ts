import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseFlags } from "./parse-flags.ts";

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
