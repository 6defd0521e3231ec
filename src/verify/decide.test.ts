import { expect, it } from "vitest";
import type { KeyRecord, SecretRecord } from "../keys/key.ts";
import { decide, type Question, standingOf, type Verdict } from "./decide.ts";

const now = new Date("2026-01-01T00:00:00Z");
const earlier = new Date(now.getTime() - 1);
const later = new Date(now.getTime() + 1);
const nobody = { kind: "system", subject: "", keyId: "", address: "" } as const;

const key: KeyRecord = {
  id: "key_01h455vb4pex5vsknk084sn02q",
  owner: "o",
  displayName: "k",
  environment: "live",
  scopes: ["orders:read"],
  labels: {},
  metadata: null,
  allowedCidrs: ["10.0.0.0/8"],
  disabled: false,
  limits: null,
  held: [],
  currentVersion: 1,
  ttlMs: 1,
  createTime: earlier,
  updateTime: earlier,
  createdBy: nobody,
  revokeTime: null,
  revokedBy: null,
  revokeReason: null,
  revokeNote: "",
  revision: 0,
  narrowedRevision: 0,
  settledRevision: 0,
};
const secret: SecretRecord = {
  keyId: key.id,
  version: 1,
  hint: "",
  createTime: earlier,
  expireTime: later,
  retireTime: null,
};
const question: Question = { requiredScopes: ["orders:read"], clientIp: "10.1.2.3", environment: "live" };

interface Situation {
  readonly key?: Partial<KeyRecord>;
  readonly secret?: Partial<SecretRecord>;
  readonly question?: Partial<Question>;
}

/** What makes each verdict apply, in the order of the contract. */
const CAUSES: readonly [Verdict, Situation][] = [
  ["revoked", { key: { revokeTime: earlier, revokedBy: nobody } }],
  ["disabled", { key: { disabled: true } }],
  ["retired", { secret: { retireTime: earlier } }],
  ["expired", { secret: { expireTime: earlier } }],
  ["environment_denied", { question: { environment: "test" } }],
  ["address_denied", { question: { clientIp: "11.0.0.1" } }],
  ["scope_missing", { question: { requiredScopes: ["orders:write"] } }],
];

function verdictOf(...situations: readonly Situation[]): Verdict {
  const merged = situations.reduce<Required<Situation>>(
    (all, one) => ({
      key: { ...all.key, ...one.key },
      secret: { ...all.secret, ...one.secret },
      question: { ...all.question, ...one.question },
    }),
    { key, secret, question },
  );
  const changed = { ...key, ...merged.key };
  const standing = standingOf({ key: changed, secret: { ...secret, ...merged.secret }, now });
  return decide({ ...changed, standing }, { ...question, ...merged.question }).verdict;
}

const pairs = CAUSES.flatMap(([first, cause], index) =>
  CAUSES.slice(index + 1).map(([second, other]) => ({ first, second, causes: [cause, other] })),
);

it("a secret that nothing speaks against is valid", () => {
  expect(verdictOf()).toBe("valid");
});

it.each(CAUSES)("%s applies on its own", (verdict, cause) => {
  expect(verdictOf(cause)).toBe(verdict);
});

it.each(pairs)("$first comes before $second", ({ first, causes }) => {
  expect(verdictOf(...causes)).toBe(first);
  expect(verdictOf(...causes.toReversed())).toBe(first);
});

it("an end applies from its very moment on, and not before", () => {
  expect(verdictOf({ secret: { expireTime: now } })).toBe("expired");
  expect(verdictOf({ secret: { retireTime: now } })).toBe("retired");
  expect(verdictOf({ secret: { retireTime: later } })).toBe("valid");
});

it("a key with CIDRs is denied without an address, and one without them needs none", () => {
  expect(verdictOf({ question: { clientIp: "" } })).toBe("address_denied");
  expect(verdictOf({ key: { allowedCidrs: [] }, question: { clientIp: "" } })).toBe("valid");
});

it("only scopes that are missing are named, and only when that is the verdict", () => {
  const asked = { requiredScopes: ["a", "orders:read", "b"], clientIp: question.clientIp };
  expect(decide({ ...key, standing: "valid" }, asked)).toEqual({ verdict: "scope_missing", missingScopes: ["a", "b"] });
  expect(decide({ ...key, standing: "disabled" }, asked)).toEqual({
    verdict: "disabled",
    missingScopes: [],
  });
});
