import fc from "fast-check";
import { expect, it } from "vitest";
import { PageTokens } from "./page-token.ts";

const key = (fill: number) => Buffer.alloc(32, fill);
const tokens = new PageTokens([key(1)]);
const places = fc.oneof(fc.constant("key_01h455vb4pex5vsknk084sn02q"), fc.string({ minLength: 1, unit: "grapheme" }));
const filters = fc.string();

it("a token leads back to the place it was made for", () => {
  fc.assert(
    fc.property(places, filters, (place, filter) => {
      const token = tokens.make(place, filter);
      expect(token).toMatch(/^[\w-]+$/);
      expect(tokens.read(token, filter)).toBe(place);
    }),
  );
});

it("a token with any character changed, cut, added or swapped is refused", () => {
  const characters = fc.oneof(
    fc.constantFrom(..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
    fc.string({ minLength: 1, maxLength: 1 }),
  );
  fc.assert(
    fc.property(places, filters, fc.nat(), characters, (place, filter, seed, character) => {
      const token = tokens.make(place, filter);
      const at = seed % token.length;
      const [head, tail] = [token.slice(0, at), token.slice(at)];
      const tampered = [
        head + character + tail.slice(1),
        head + tail.slice(1),
        head + character + tail,
        token + character,
        head,
        head + tail.charAt(1) + tail.charAt(0) + tail.slice(2),
      ];
      for (const wrong of tampered.filter((text) => text !== token)) {
        expect(tokens.read(wrong, filter)).toBeUndefined();
      }
    }),
    { numRuns: 1000 },
  );
});

it("a token is refused for other filters", () => {
  fc.assert(
    fc.property(places, filters, filters, (place, filter, other) => {
      fc.pre(filter !== other);
      expect(tokens.read(tokens.make(place, filter), other)).toBeUndefined();
    }),
  );
});

it("place and filters cannot be shifted into each other", () => {
  const bytes = Buffer.from(tokens.make("ab", "c"), "base64url");
  const shifted = Buffer.concat([bytes.subarray(0, 16), Buffer.from("a")]).toString("base64url");
  expect(tokens.read(shifted, "bc")).toBeUndefined();
});

it("what was never a token is refused", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 100 }), (text) => {
      expect(tokens.read(text, "")).toBeUndefined();
    }),
  );
});

it("a token of the old key is read and made no more; one of a foreign key is refused", () => {
  const rotated = new PageTokens([key(2), key(1)]);
  expect(rotated.read(tokens.make("place", "f"), "f")).toBe("place");
  expect(tokens.read(rotated.make("place", "f"), "f")).toBeUndefined();
  expect(new PageTokens([key(3)]).read(tokens.make("place", "f"), "f")).toBeUndefined();
});
