import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import { ActorKind, KeyState, RevocationReason, SecretState } from "#gen/claviger/v1/key_pb.js";
import { describeOnEachStorage } from "../../testkit/claviger.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { ageKey } from "./age-key.ts";
import { expectSoonAfter } from "./expect-soon-after.ts";
import { makeKey, UNKNOWN_KEY_ID } from "./make-key.ts";
import { verdictOf } from "./verdict-of.ts";

const DAY_MS = 86_400_000;

describeOnEachStorage("RevokeKey", (claviger) => {
  it("ends every secret of the key once it has returned", async () => {
    const { admin } = claviger();
    const { id, secret } = await makeKey(admin, { owner: "revoke-all" });
    const second = await admin.keys.rotateKey({ keyId: id });
    const third = await admin.keys.rotateKey({ keyId: id });
    await admin.keys.revokeKey({ keyId: id });
    for (const dead of [secret, second.secret, third.secret]) expect(await verdictOf(admin, dead)).toBe("REVOKED");
  });

  it("is obeyed by every verification that begins after it has returned, in the middle of many", async () => {
    const { admin } = claviger();
    for (let round = 0; round < 5; round++) {
      const { id, secret } = await makeKey(admin, { owner: `revoke-race-${round}` });
      const during = Array.from({ length: 5 }, () => verdictOf(admin, secret));
      await admin.keys.revokeKey({ keyId: id });
      const after = await Promise.all(Array.from({ length: 5 }, () => verdictOf(admin, secret)));
      expect(after).toEqual(Array.from({ length: 5 }, () => "REVOKED"));
      for (const verdict of await Promise.all(during)) expect(["VALID", "REVOKED"]).toContain(verdict);
    }
  });

  it("remembers when, by whom and why, and shows which secrets it ended", async () => {
    const { admin } = claviger();
    const { id, key: made } = await makeKey(admin, { owner: "revoke-why" });
    await admin.keys.rotateKey({ keyId: id, gracePeriod: durationFromMs(0) });
    const note = "😀".repeat(512);
    const { key, receipt } = await admin.keys.revokeKey({ keyId: id, reason: RevocationReason.OWNER_LEFT, note });
    expect(key).toMatchObject({
      state: KeyState.REVOKED,
      revokeReason: RevocationReason.OWNER_LEFT,
      revokeNote: note,
      revokedBy: { kind: ActorKind.SERVICE, subject: "claviger:admin", keyId: made.createdBy?.keyId },
      secrets: [
        { version: 2, state: SecretState.REVOKED },
        { version: 1, state: SecretState.RETIRED },
      ],
    });
    expectSoonAfter(key?.revokeTime, receipt?.effectiveTime);
    expect(receipt?.revision).toBeGreaterThan(0n);
    expect(receipt?.barrierDuration).toBeDefined();
    expect((await admin.keys.getKey({ keyId: id })).key).toEqual(key);
  });

  it("revokes the key of a secret with claviger:keys.revoke alone", async () => {
    const { admin, as } = claviger();
    const { id, secret } = await makeKey(admin, { owner: "revoke-by-secret" });
    const { secret: revoker } = await makeKey(admin, { owner: "revoker", scopes: ["claviger:keys.revoke"] });
    const { secret: latest } = await admin.keys.rotateKey({ keyId: id });
    const { key } = await as(revoker).keys.revokeKey({ secret, note: "found" });
    expect(key).toMatchObject({ id, state: KeyState.REVOKED, revokeNote: "found" });
    expect(await verdictOf(admin, latest)).toBe("REVOKED");
    expect((await as(revoker).keys.revokeKey({ secret: latest })).key).toMatchObject({ id, revokeNote: "found" });
  });

  it("says the same of a secret that is unknown, mistyped, or of a key that the caller may not know of", async () => {
    const { admin } = claviger();
    const { secret } = await makeKey(admin, { owner: "revoke-unknown" });
    const last = secret.endsWith("0") ? "1" : "0";
    const refusals = [secret.slice(0, -1) + last, "hunter2"].map((wrong) =>
      refusalOf(admin.keys.revokeKey({ secret: wrong })),
    );
    for (const refusal of await Promise.all(refusals)) {
      expect(refusal).toMatchObject({ reason: "KEY_NOT_FOUND" });
      expect(JSON.stringify(refusal)).not.toContain("hunter2");
    }
    expect(await verdictOf(admin, secret)).toBe("VALID");
  });

  it.each([{}, { keyId: UNKNOWN_KEY_ID, secret: "x" }])(
    "takes exactly one of key id and secret: %j",
    async (request) => {
      expect(await refusalOf(claviger().admin.keys.revokeKey(request))).toMatchObject({ reason: "INVALID_FIELD" });
    },
  );

  it("again is OK with a receipt, and changes nothing of the first", async () => {
    const { admin } = claviger();
    const { id } = await makeKey(admin, { owner: "revoke-again" });
    const first = await admin.keys.revokeKey({ keyId: id, reason: RevocationReason.POLICY, note: "first" });
    const second = await admin.keys.revokeKey({ keyId: id, reason: RevocationReason.OTHER, note: "second" });
    expect(second.key).toEqual(first.key);
    expect(second.receipt?.revision).toBeGreaterThanOrEqual(first.receipt?.revision ?? 1n);
  });

  it("many times at once is OK each time, and one revocation", async () => {
    const { admin } = claviger();
    const { id } = await makeKey(admin, { owner: "revoke-parallel" });
    const answers = await Promise.all(Array.from({ length: 6 }, () => admin.keys.revokeKey({ keyId: id })));
    expect(new Set(answers.map(({ key }) => key?.etag)).size).toBe(1);
  });

  it("needs no reason, and takes disabled and expired keys", async () => {
    const { admin, storage } = claviger();
    const { id } = await makeKey(admin, { owner: "revoke-expired" });
    await admin.keys.updateKey({ key: { id, disabled: true }, updateMask: { paths: ["disabled"] } });
    await ageKey(storage, id, 90 * DAY_MS);
    const { key } = await admin.keys.revokeKey({ keyId: id });
    expect(key).toMatchObject({
      state: KeyState.REVOKED,
      revokeReason: RevocationReason.UNSPECIFIED,
      revokeNote: "",
      secrets: [{ state: SecretState.EXPIRED }],
    });
  });

  it("can be of the key that calls, which can then call no more", async () => {
    const { admin, as } = claviger();
    const own = await makeKey(admin, { owner: "revoke-self", scopes: ["claviger:keys.revoke"] });
    const { key } = await as(own.secret).keys.revokeKey({ keyId: own.id });
    expect(key).toMatchObject({ state: KeyState.REVOKED, revokedBy: { keyId: own.id, subject: "revoke-self" } });
    expect(await refusalOf(as(own.secret).keys.revokeKey({ keyId: own.id }))).toMatchObject({
      code: "Unauthenticated",
      reason: "CREDENTIAL_INVALID",
      metadata: { verdict: "REVOKED" },
    });
  });

  it("refuses a key that nobody has", async () => {
    expect(await refusalOf(claviger().admin.keys.revokeKey({ keyId: UNKNOWN_KEY_ID }))).toMatchObject({
      code: "NotFound",
      reason: "KEY_NOT_FOUND",
      domain: "claviger",
      metadata: { key_id: UNKNOWN_KEY_ID },
    });
  });

  it.each([
    ["an id that is none", { keyId: "key_" }, "key_id"],
    ["a reason that is not known", { reason: 9 as RevocationReason }, "reason"],
    ["a note of 513 characters", { note: "x".repeat(513) }, "note"],
    ["a note with U+0000", { note: "a\u0000" }, "note"],
  ])("refuses %s", async (_, request, field) => {
    const call = claviger().admin.keys.revokeKey({ keyId: UNKNOWN_KEY_ID, ...request });
    expect(await refusalOf(call)).toMatchObject({
      code: "InvalidArgument",
      reason: "INVALID_FIELD",
      domain: "claviger",
      fields: [field],
    });
  });
});
