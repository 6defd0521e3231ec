import fc from "fast-check";
import { expect, it } from "vitest";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { FakeVerifier } from "./fake-verifier.ts";

it("different owners have different secrets, and one owner has the same secret again", () => {
  const pair = fc.tuple(fc.string(), fc.string()).filter(([one, other]) => one !== other);
  // Owners that look alike without their punctuation, or with zeros at the end.
  const alike = fc.constantFrom(["user-1", "user.1"], ["alice", "alice0"], ["a b", "a0b"]);
  fc.assert(
    fc.property(fc.oneof(pair, alike), ([one = "", other = ""]) => {
      const verifier = new FakeVerifier();
      const secret = verifier.addKey(one, { scopes: ["orders:write"] });
      const second = verifier.addKey(other);
      expect(second).not.toBe(secret);
      expect(verifier.addKey(one, { scopes: ["orders:write"] })).toBe(secret);
      const answer = verifier.verifySync(second, { scopes: ["orders:write"] });
      expect(answer).toMatchObject({ verdict: Verdict.SCOPE_MISSING, key: { owner: other } });
    }),
  );
});

it("its secrets have the prefix and the length of real ones", () => {
  const verifier = new FakeVerifier();
  const [live, test] = [verifier.addKey("alice"), verifier.addKey("alice", { environment: "test" })];
  expect(live).toMatch(/^clv_live_[0-9A-Za-z]{49}$/);
  expect(test).toMatch(/^clv_test_[0-9A-Za-z]{49}$/);
});
