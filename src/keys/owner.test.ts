import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { displayNameProblem, isReservedOwner, ownerProblem } from "./owner.ts";

const SECRET = `clv_live_${"a1B2".repeat(12)}x`;

describe("an owner", () => {
  it.each(["ada", "acme/ada", "名前", "Ada Lovelace", "ada@example.com", "auth0|5f7c", "e\u0301", "é".repeat(127)])(
    "may be %j",
    (owner) => expect(ownerProblem(owner)).toBeUndefined(),
  );

  it.each([
    ["white space at its start", " ada"],
    ["a no-break space at its end", "ada\u00a0"],
    ["a newline", "a\nda"],
    ["a C1 control character", "a\u0085da"],
    ["a zero-width space", "a\u200bda"],
    ["an Arabic letter mark", "a\u061cda"],
    ["a right-to-left override", "a\u202eda"],
    ["a line separator", "a\u2028da"],
    ["a variation selector", "a\ufe0fda"],
    ["a Hangul filler", "a\u3164da"],
    ["a tag character", "a\u{e0041}da"],
    ["half a character", "a\ud800"],
    ["256 bytes", "é".repeat(128)],
    ["a secret", SECRET],
    ["a secret inside", `owner=${SECRET}`],
  ])("must not have %s", (_, owner) => expect(ownerProblem(owner)).toMatch(/must|looks like/));

  it.each([
    "claviger:admin",
    "Claviger:x",
    "CLAVIGER:",
    "claviger\uff1aadmin",
    "\uff43laviger:admin",
    "ｃｌａｖｉｇｅｒ：a",
  ])("is reserved if it is %j", (owner) => expect(isReservedOwner(owner)).toBe(true));

  it("that is taken is never one that shows as a reserved one", () => {
    const noise = fc.constantFrom("", " ", "\u200b", "\u00a0", "\u00ad", "\ufeff", "\u0000", "\u2060", "\u180e");
    const letters = [..."claviger:admin"];
    const spelled = fc.tuple(
      ...letters.map((letter) =>
        fc.constantFrom(letter, letter.toUpperCase(), String.fromCodePoint((letter.codePointAt(0) ?? 0) + 0xfee0)),
      ),
    );
    fc.assert(
      fc.property(spelled, noise, fc.nat({ max: letters.length }), (some, extra, at) => {
        const owner = [...some.slice(0, at), extra, ...some.slice(at)].join("");
        // White space inside shows.
        fc.pre(!/\S[ \u00a0]\S/.test(owner) || at > 8);
        expect(isReservedOwner(owner) || ownerProblem(owner) !== undefined).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});

describe("a display name", () => {
  it.each(["Robot №1", "👩‍💻 laptop", "می‌خواهم", "❤️", " "])("may be %j", (name) =>
    expect(displayNameProblem(name)).toBeUndefined(),
  );

  it.each(["a\u0085b", "a\u200bb", "a\u202eb", "a\u2028b", "a\u061cb", "a\u00adb", "a\u{e0041}b", "a\u3164b"])(
    "must not be %j",
    (name) => expect(displayNameProblem(name)).toMatch(/must not/),
  );
});
