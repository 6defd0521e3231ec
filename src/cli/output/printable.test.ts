import fc from "fast-check";
import { expect, it } from "vitest";
import { printable, printableJson } from "./printable.ts";

const HIDDEN = ["\u001b", "\u0085", "\u200b", "\u061c", "\u00ad", "\u202e", "\u2066", "\u2028", "\ufeff", "\u{e0041}"];

it("text for a terminal shows each control and format character as an escape, and keeps newlines", () => {
  for (const hidden of HIDDEN) {
    expect(printable(`a${hidden}b`)).toBe(`a\\u{${hidden.codePointAt(0)?.toString(16)}}b`);
  }
  expect(printable("a\nb é 名前")).toBe("a\nb é 名前");
});

it("JSON for a terminal has none of them either, and holds the same", () => {
  const text = fc.oneof(fc.string({ unit: "binary" }), fc.constantFrom(...HIDDEN));
  fc.assert(
    fc.property(fc.dictionary(text, fc.array(text)), (value) => {
      const shown = printableJson(JSON.stringify(value, null, 2));
      expect(shown).not.toMatch(/[\p{Cf}\p{Zl}\p{Zp}]|(?!\n)\p{Cc}/u);
      expect(JSON.parse(shown)).toEqual(value);
    }),
  );
});
