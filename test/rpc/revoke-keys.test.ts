import { expect, it } from "vitest";
import { ActorKind, KeyState, RevocationReason } from "#gen/claviger/v1/key_pb.js";
import { describeOnEachStorage } from "../../testkit/claviger.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { ageKey } from "./age-key.ts";
import { makeKey } from "./make-key.ts";
import { verdictOf } from "./verdict-of.ts";

const DAY_MS = 86_400_000;

// Three keys per transaction, so that a handful of keys take several.
const settings = { CLAVIGER_POLICY: '{"manage": {"revokeBatchSize": 3}}' };

const body: Parameters<typeof describeOnEachStorage>[1] = (claviger) => {
  it("revokes every key of an owner once it has returned, and nobody else's", async () => {
    const { admin } = claviger();
    const owner = "bulk-owner";
    const made = await Promise.all(Array.from({ length: 7 }, () => makeKey(admin, { owner })));
    const other = await makeKey(admin, { owner: "bulk-owner-2" });
    const answer = await admin.keys.revokeKeys({ owner, reason: RevocationReason.OWNER_LEFT, note: "bye" });
    for (const { secret } of made) expect(await verdictOf(admin, secret)).toBe("REVOKED");
    expect(await verdictOf(admin, other.secret)).toBe("VALID");
    expect(answer.keyCount).toBe(7);
    expect(answer.receipt?.revision).toBeGreaterThan(0n);
    expect(answer.receipt?.effectiveTime).toBeDefined();
    for (const { id } of made) {
      expect((await admin.keys.getKey({ keyId: id })).key).toMatchObject({
        state: KeyState.REVOKED,
        revokeReason: RevocationReason.OWNER_LEFT,
        revokeNote: "bye",
        revokedBy: { kind: ActorKind.SERVICE, subject: "claviger:admin" },
      });
    }
  });

  it("revokes the keys with all the labels, whoever owns them, or of one owner only", async () => {
    const { admin } = claviger();
    const create = (owner: string, labels: Record<string, string>) => makeKey(admin, { owner, labels });
    const [a, b, c, d] = [
      await create("bulk-labels-1", { bulk: "x", tier: "gold" }),
      await create("bulk-labels-1", { bulk: "x" }),
      await create("bulk-labels-2", { bulk: "x", tier: "gold" }),
      await create("bulk-labels-2", { bulk: "y", tier: "gold" }),
    ];
    const verdicts = () => Promise.all([a, b, c, d].map(({ secret }) => verdictOf(admin, secret)));
    const inOwner = { owner: "bulk-labels-2", labelSelector: { bulk: "x" } };
    expect((await admin.keys.revokeKeys(inOwner)).keyCount).toBe(1);
    expect(await verdicts()).toEqual(["VALID", "VALID", "REVOKED", "VALID"]);
    expect((await admin.keys.revokeKeys({ labelSelector: { bulk: "x", tier: "gold" } })).keyCount).toBe(1);
    expect(await verdicts()).toEqual(["REVOKED", "VALID", "REVOKED", "VALID"]);
    expect((await admin.keys.revokeKeys({ labelSelector: { bulk: "x" } })).keyCount).toBe(1);
    expect(await verdicts()).toEqual(["REVOKED", "REVOKED", "REVOKED", "VALID"]);
  });

  it("counts what it would revoke with validate_only, and revokes nothing", async () => {
    const { admin } = claviger();
    const owner = "bulk-count";
    const made = [await makeKey(admin, { owner }), await makeKey(admin, { owner }), await makeKey(admin, { owner })];
    await admin.keys.revokeKey({ keyId: made[0]?.id ?? "" });
    const answer = await admin.keys.revokeKeys({ owner, validateOnly: true });
    expect(answer.keyCount).toBe(2);
    expect(answer.receipt).toBeUndefined();
    expect(await verdictOf(admin, made[1]?.secret ?? "")).toBe("VALID");
  });

  it("takes disabled and expired keys along, and leaves revoked ones as they are", async () => {
    const { admin, storage } = claviger();
    const owner = "bulk-dead";
    const [disabled, expired, revoked] = [
      await makeKey(admin, { owner }),
      await makeKey(admin, { owner }),
      await makeKey(admin, { owner }),
    ];
    await admin.keys.updateKey({ key: { id: disabled.id, disabled: true }, updateMask: { paths: ["disabled"] } });
    await ageKey(storage, expired.id, 90 * DAY_MS);
    const before = (await admin.keys.revokeKey({ keyId: revoked.id, note: "before" })).key;
    expect((await admin.keys.revokeKeys({ owner, note: "bulk" })).keyCount).toBe(2);
    expect((await admin.keys.getKey({ keyId: revoked.id })).key).toEqual(before);
  });

  it("again finds nothing, and is OK with a receipt", async () => {
    const { admin } = claviger();
    const owner = "bulk-again";
    await makeKey(admin, { owner });
    const first = await admin.keys.revokeKeys({ owner });
    const second = await admin.keys.revokeKeys({ owner });
    expect([first.keyCount, second.keyCount]).toEqual([1, 0]);
    expect(second.receipt?.revision).toBeGreaterThanOrEqual(first.receipt?.revision ?? 1n);
  });

  it("finishes though the calling key is among those revoked", async () => {
    const { admin, as } = claviger();
    const owner = "bulk-self";
    const own = await makeKey(admin, { owner, scopes: ["claviger:keys.revoke"] });
    for (let i = 0; i < 6; i++) await makeKey(admin, { owner });
    expect((await as(own.secret).keys.revokeKeys({ owner })).keyCount).toBe(7);
    expect(await verdictOf(admin, own.secret)).toBe("REVOKED");
  });

  it("frees the owner's places", async () => {
    const { admin } = claviger();
    const owner = "bulk-places";
    await Promise.all(Array.from({ length: 10 }, () => makeKey(admin, { owner })));
    expect((await admin.keys.revokeKeys({ owner })).keyCount).toBe(10);
    await makeKey(admin, { owner });
  });

  it("refuses to revoke without saying whose or which", async () => {
    const { admin } = claviger();
    for (const request of [{}, { reason: RevocationReason.POLICY }, { validateOnly: true }]) {
      const refusal = await refusalOf(admin.keys.revokeKeys(request));
      expect(refusal).toMatchObject({ code: "InvalidArgument", reason: "INVALID_FIELD", domain: "claviger" });
      expect(refusal.fields).toHaveLength(1);
      expect(refusal.message).toContain("at least one of owner and label_selector");
    }
  });

  it.each([
    ["an owner of 256 bytes", { owner: "o".repeat(256) }, "owner"],
    ["a label key with a capital", { labelSelector: { Team: "" } }, 'label_selector["Team"]'],
    ["a reason that is not known", { owner: "o", reason: 9 as RevocationReason }, "reason"],
    ["a note of 513 characters", { owner: "o", note: "x".repeat(513) }, "note"],
  ])("refuses %s", async (_, request, field) => {
    expect(await refusalOf(claviger().admin.keys.revokeKeys(request))).toMatchObject({
      code: "InvalidArgument",
      reason: "INVALID_FIELD",
      domain: "claviger",
      fields: [field],
    });
  });
};

describeOnEachStorage("RevokeKeys", body, settings);
