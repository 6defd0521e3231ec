import { expect, it } from "vitest";
import { KeyState, SecretState } from "#gen/claviger/v1/key_pb.js";
import { describeOnEachStorage } from "../../testkit/claviger.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { ageKey } from "./age-key.ts";
import { expectSoonAfter } from "./expect-soon-after.ts";
import { makeKey, UNKNOWN_KEY_ID } from "./make-key.ts";
import { verdictOf } from "./verdict-of.ts";

const DAY_MS = 86_400_000;

describeOnEachStorage("RetireSecret", (claviger) => {
  it("ends a retiring secret before its grace is over, and not the current one", async () => {
    const { admin } = claviger();
    const { id, secret } = await makeKey(admin, { owner: "retire-retiring" });
    const second = await admin.keys.rotateKey({ keyId: id });
    expect(await verdictOf(admin, secret)).toBe("VALID");
    const { key, receipt } = await admin.keys.retireSecret({ keyId: id, version: 1 });
    expect(await verdictOf(admin, secret)).toBe("RETIRED");
    expect(await verdictOf(admin, second.secret)).toBe("VALID");
    expect(key?.secrets).toMatchObject([{ state: SecretState.CURRENT }, { state: SecretState.RETIRED }]);
    expectSoonAfter(key?.secrets[1]?.retireTime, receipt?.effectiveTime);
    expect(receipt?.revision).toBeGreaterThan(0n);
    expect((await admin.keys.getKey({ keyId: id })).key).toEqual(key);
  });

  it("ends the current secret too", async () => {
    const { admin } = claviger();
    const { id, secret } = await makeKey(admin, { owner: "retire-current" });
    const { key } = await admin.keys.retireSecret({ keyId: id, version: 1 });
    expect(await verdictOf(admin, secret)).toBe("RETIRED");
    expect(key).toMatchObject({ state: KeyState.ACTIVE, secrets: [{ state: SecretState.RETIRED }] });
  });

  it("again changes nothing, and is OK with a receipt", async () => {
    const { admin } = claviger();
    const { id } = await makeKey(admin, { owner: "retire-again" });
    const first = await admin.keys.retireSecret({ keyId: id, version: 1 });
    const second = await admin.keys.retireSecret({ keyId: id, version: 1 });
    expect(second.key).toEqual(first.key);
    expect(second.receipt?.revision).toBeGreaterThanOrEqual(first.receipt?.revision ?? 1n);
  });

  it("of a secret that has expired changes nothing, and is OK", async () => {
    const { admin, storage } = claviger();
    const { id, secret } = await makeKey(admin, { owner: "retire-expired" });
    await ageKey(storage, id, 90 * DAY_MS);
    const before = (await admin.keys.getKey({ keyId: id })).key;
    const { key, receipt } = await admin.keys.retireSecret({ keyId: id, version: 1 });
    expect(key).toEqual(before);
    expect(receipt).toBeDefined();
    expect(await verdictOf(admin, secret)).toBe("EXPIRED");
  });

  it("of a revoked key changes nothing, and is OK", async () => {
    const { admin } = claviger();
    const { id, secret } = await makeKey(admin, { owner: "retire-revoked" });
    const revoked = (await admin.keys.revokeKey({ keyId: id })).key;
    const { key, receipt } = await admin.keys.retireSecret({ keyId: id, version: 1 });
    expect(key).toEqual(revoked);
    expect(receipt).toBeDefined();
    expect(await verdictOf(admin, secret)).toBe("REVOKED");
  });

  it("refuses a version that the key does not have", async () => {
    const { admin } = claviger();
    const { id } = await makeKey(admin, { owner: "retire-version" });
    expect(await refusalOf(admin.keys.retireSecret({ keyId: id, version: 2 }))).toMatchObject({
      code: "NotFound",
      reason: "SECRET_VERSION_NOT_FOUND",
      domain: "claviger",
      metadata: { key_id: id, version: "2" },
    });
  });

  it("refuses a key that nobody has", async () => {
    const call = claviger().admin.keys.retireSecret({ keyId: UNKNOWN_KEY_ID, version: 1 });
    expect(await refusalOf(call)).toMatchObject({
      code: "NotFound",
      reason: "KEY_NOT_FOUND",
      domain: "claviger",
      metadata: { key_id: UNKNOWN_KEY_ID },
    });
  });

  it.each([
    ["no version", { keyId: UNKNOWN_KEY_ID }, "version"],
    ["a version below one", { keyId: UNKNOWN_KEY_ID, version: -1 }, "version"],
    ["an id that is none", { keyId: "1", version: 1 }, "key_id"],
  ])("refuses %s", async (_, request, field) => {
    expect(await refusalOf(claviger().admin.keys.retireSecret(request))).toMatchObject({
      code: "InvalidArgument",
      reason: "INVALID_FIELD",
      domain: "claviger",
      fields: [field],
    });
  });
});
