import fc from "fast-check";
import { expect, it } from "vitest";
import { covers, isOwnScope, missingScopes } from "./scopes.ts";

const segments = fc.constantFrom("claviger", "orders", "read", "a", "b.c", "_-");
const plain = fc.array(segments, { minLength: 1, maxLength: 4 }).map((parts) => parts.join(":"));
const grants = fc.oneof(
  plain,
  plain.map((scope) => `${scope}:*`),
  fc.constant("*"),
);

/** The contract's words, segment by segment, about a scope without a wildcard. */
function modelCovers(grant: string, scope: string): boolean {
  const wanted = scope.split(":");
  if (grant === "*") return wanted[0] !== "claviger";
  const held = grant.split(":");
  if (held.at(-1) !== "*") return held.length === wanted.length && held.every((part, i) => part === wanted[i]);
  const fixed = held.slice(0, -1);
  return wanted.length > fixed.length && fixed.every((part, i) => part === wanted[i]);
}

it("a grant covers what the contract says, segment by segment", () => {
  fc.assert(
    fc.property(grants, plain, (grant, scope) => {
      expect(covers(grant, scope)).toBe(modelCovers(grant, scope));
    }),
    { numRuns: 2000 },
  );
});

it("a grant covers a wildcard only if it covers everything that the wildcard does", () => {
  const worlds = fc.array(plain, { minLength: 1, maxLength: 30 });
  fc.assert(
    fc.property(grants, grants, worlds, (wide, narrow, world) => {
      fc.pre(covers(wide, narrow));
      for (const scope of world) {
        if (modelCovers(narrow, scope)) expect(modelCovers(wide, scope)).toBe(true);
      }
    }),
    { numRuns: 2000 },
  );
});

it("what is missing is what no grant covers, in the order asked for", () => {
  fc.assert(
    fc.property(fc.array(grants, { maxLength: 4 }), fc.array(plain, { maxLength: 6 }), (held, wanted) => {
      const missing = wanted.filter((scope) => !held.some((grant) => modelCovers(grant, scope)));
      expect(missingScopes(held, wanted)).toEqual(missing);
    }),
    { numRuns: 1000 },
  );
});

it.each([
  ["orders:*", "orders:read", true],
  ["orders:*", "orders:read:all", true],
  ["orders:*", "orders:read:*", true],
  ["orders:*", "orders", false],
  ["orders:*", "orders2:read", false],
  ["orders:*", "*", false],
  ["orders:read", "orders:*", false],
  ["*", "orders", true],
  ["*", "orders:*", true],
  ["*", "*", true],
  ["*", "claviger:verify", false],
  ["*", "claviger:*", false],
  ["*", "clavigera:verify", true],
  ["claviger:*", "claviger:keys.read", true],
  ["claviger:*", "*", false],
])("%s covers %s: %s", (grant, scope, expected) => {
  expect(covers(grant, scope)).toBe(expected);
});

it("scopes of Claviger itself are those that begin with its name as a segment", () => {
  expect(["claviger:*", "claviger:keys.read", "claviger:a:b"].every(isOwnScope)).toBe(true);
  expect(["*", "orders:claviger:read", "clavigera:read", "claviger.x:read"].some(isOwnScope)).toBe(false);
});
