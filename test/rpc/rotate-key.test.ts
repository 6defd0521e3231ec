import { setTimeout as sleep } from "node:timers/promises";
import { durationFromMs, type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { KeyState, SecretState } from "#gen/claviger/v1/key_pb.js";
import { describeOnEachStorage } from "../../testkit/claviger.ts";
import { eventually } from "../../testkit/eventually.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { ageKey } from "./age-key.ts";
import { expectSoonAfter } from "./expect-soon-after.ts";
import { makeKey, UNKNOWN_KEY_ID } from "./make-key.ts";
import { verdictOf } from "./verdict-of.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const AT_ONCE = durationFromMs(0);

function msBetween(from: Timestamp | undefined, to: Timestamp | undefined): number {
  if (from === undefined || to === undefined) throw new Error("one of the times is not set");
  return timestampMs(to) - timestampMs(from);
}

describeOnEachStorage(
  "RotateKey",
  (claviger) => {
    it("gives the key a second secret under the same identity", async () => {
      const { admin } = claviger();
      const made = await makeKey(admin, { owner: "rotate-identity", scopes: ["a"], labels: { b: "c" } });
      const { key, secret, retiring } = await admin.keys.rotateKey({ keyId: made.id });
      const { secrets, etag, updateTime, expireTime, ...same } = made.key;
      expect(key).toMatchObject(same);
      expect(secret).toMatch(/^clv_live_[0-9A-Za-z]{49}$/);
      expect(secret).not.toBe(made.secret);
      expect(key?.secrets).toMatchObject([
        { version: 2, state: SecretState.CURRENT, hint: `clv_live_…${secret.slice(-4)}` },
        { version: 1, state: SecretState.RETIRING, hint: secrets[0]?.hint },
      ]);
      expect(retiring).toEqual(key?.secrets[1]);
      expect((await admin.keys.getKey({ keyId: made.id })).key).toEqual(key);
      expect(await verdictOf(admin, secret)).toBe("VALID");
    });

    it("keeps the old secret for 24 hours, not longer, and the new one for a fresh 90 days", async () => {
      const { admin, storage } = claviger();
      const { id, secret } = await makeKey(admin, { owner: "rotate-grace" });
      await ageKey(storage, id, 10 * DAY_MS);
      const rotation = await admin.keys.rotateKey({ keyId: id });
      expect(rotation.receipt).toBeUndefined();
      expect(msBetween(rotation.key?.updateTime, rotation.retiring?.retireTime)).toBe(DAY_MS);
      expect(msBetween(rotation.key?.updateTime, rotation.key?.expireTime)).toBe(90 * DAY_MS);
      await ageKey(storage, id, DAY_MS - 60_000);
      expect(await verdictOf(admin, secret)).toBe("VALID");
      await ageKey(storage, id, 60_000);
      expect(await verdictOf(admin, secret)).toBe("RETIRED");
      expect(await verdictOf(admin, rotation.secret)).toBe("VALID");
      await ageKey(storage, id, 89 * DAY_MS);
      expect(await verdictOf(admin, rotation.secret)).toBe("EXPIRED");
    });

    it("ends the old secret at once with a grace of nothing, and says since when", async () => {
      const { admin } = claviger();
      const { id, secret } = await makeKey(admin, { owner: "rotate-now" });
      const rotation = await admin.keys.rotateKey({ keyId: id, gracePeriod: AT_ONCE });
      expect(await verdictOf(admin, secret)).toBe("RETIRED");
      expect(await verdictOf(admin, rotation.secret)).toBe("VALID");
      expect(rotation.retiring).toMatchObject({ version: 1, state: SecretState.RETIRED });
      expect(rotation.receipt?.revision).toBeGreaterThan(0n);
      expectSoonAfter(rotation.retiring?.retireTime, rotation.receipt?.effectiveTime);
    });

    it("keeps the old secret for a grace of one second", async () => {
      const { admin } = claviger();
      const { id, secret } = await makeKey(admin, { owner: "rotate-second" });
      const { retiring, receipt } = await admin.keys.rotateKey({ keyId: id, gracePeriod: durationFromMs(1000) });
      expect(receipt).toBeDefined();
      expect(await verdictOf(admin, secret)).toBe("VALID");
      const end = retiring?.retireTime === undefined ? 0 : timestampMs(retiring.retireTime);
      await eventually(async () => {
        const asked = Date.now();
        const verdict = await verdictOf(admin, secret);
        if (asked >= end) expect(verdict).toBe("RETIRED");
        expect(verdict === "RETIRED" && Date.now() >= end).toBe(true);
      });
    });

    it("gives a receipt only if the old secret ends soon enough to wait for", async () => {
      const { admin } = claviger();
      const { id } = await makeKey(admin, { owner: "rotate-receipt" });
      const receiptOf = async (ms: number) =>
        (await admin.keys.rotateKey({ keyId: id, gracePeriod: durationFromMs(ms) })).receipt;
      // 2W = 2 · 3 s · 1.02 / 0.98 = 6.245 s.
      expect(await receiptOf(6000)).toBeDefined();
      expect(await receiptOf(6500)).toBeUndefined();
    });

    it("does not lengthen the life of the old secret", async () => {
      const { admin, storage } = claviger();
      const { id, key, secret } = await makeKey(admin, { owner: "rotate-short", ttl: durationFromMs(HOUR_MS) });
      const { retiring } = await admin.keys.rotateKey({ keyId: id });
      expect(retiring?.retireTime).toEqual(key.expireTime);
      await ageKey(storage, id, HOUR_MS);
      expect(["RETIRED", "EXPIRED"]).toContain(await verdictOf(admin, secret));
    });

    it("leaves the end of older retiring secrets as it is", async () => {
      const { admin } = claviger();
      const { id } = await makeKey(admin, { owner: "rotate-older" });
      const { retiring } = await admin.keys.rotateKey({ keyId: id, gracePeriod: durationFromMs(HOUR_MS) });
      const { key } = await admin.keys.rotateKey({ keyId: id, gracePeriod: AT_ONCE });
      expect(key?.secrets.map(({ version, state }) => [version, state])).toEqual([
        [3, SecretState.CURRENT],
        [2, SecretState.RETIRED],
        [1, SecretState.RETIRING],
      ]);
      expect(key?.secrets[2]?.retireTime).toEqual(retiring?.retireTime);
    });

    it("gives the new secret the key's original term, or the one asked for, which is for that secret only", async () => {
      const { admin } = claviger();
      const { id } = await makeKey(admin, { owner: "rotate-term", ttl: durationFromMs(5 * DAY_MS) });
      const termOf = async (ttlMs?: number) => {
        const ttl = ttlMs === undefined ? {} : { ttl: durationFromMs(ttlMs) };
        const { key } = await admin.keys.rotateKey({ keyId: id, gracePeriod: AT_ONCE, ...ttl });
        return msBetween(key?.updateTime, key?.expireTime);
      };
      expect(await termOf()).toBe(5 * DAY_MS);
      expect(await termOf(90 * DAY_MS)).toBe(90 * DAY_MS);
      expect(await termOf()).toBe(5 * DAY_MS);
    });

    it("rotates a disabled key, which stays disabled", async () => {
      const { admin } = claviger();
      const { id } = await makeKey(admin, { owner: "rotate-disabled" });
      await admin.keys.updateKey({ key: { id, disabled: true }, updateMask: { paths: ["disabled"] } });
      const { key, secret } = await admin.keys.rotateKey({ keyId: id });
      expect(key?.state).toBe(KeyState.DISABLED);
      expect(await verdictOf(admin, secret)).toBe("DISABLED");
    });

    it("rotates a key whose current secret was retired, which stays so", async () => {
      const { admin } = claviger();
      const { id, secret } = await makeKey(admin, { owner: "rotate-retired" });
      await admin.keys.retireSecret({ keyId: id, version: 1 });
      const rotation = await admin.keys.rotateKey({ keyId: id });
      expect(rotation.retiring).toBeUndefined();
      expect(rotation.receipt).toBeUndefined();
      expect(await verdictOf(admin, secret)).toBe("RETIRED");
      expect(await verdictOf(admin, rotation.secret)).toBe("VALID");
    });

    describe("of an expired key", () => {
      it("brings the key back, and leaves its old secrets dead", async () => {
        const { admin, storage } = claviger();
        const { id, secret } = await makeKey(admin, { owner: "rotate-expired" });
        await ageKey(storage, id, 90 * DAY_MS);
        const rotation = await admin.keys.rotateKey({ keyId: id });
        expect(rotation.retiring).toBeUndefined();
        expect(rotation.receipt).toBeUndefined();
        expect(rotation.key?.state).toBe(KeyState.ACTIVE);
        expect(await verdictOf(admin, secret)).toBe("EXPIRED");
        expect(await verdictOf(admin, rotation.secret)).toBe("VALID");
      });

      it("takes a place among the owner's ten, one key alone when eight want the last one at once", async () => {
        const { admin, storage } = claviger();
        const owner = "rotate-place";
        const expired = await Promise.all(Array.from({ length: 8 }, () => makeKey(admin, { owner })));
        for (const { id } of expired) await ageKey(storage, id, 90 * DAY_MS);
        for (let i = 0; i < 9; i++) await makeKey(admin, { owner });
        const attempts = expired.map(({ id }) => admin.keys.rotateKey({ keyId: id }));
        const outcomes = await Promise.allSettled(attempts);
        expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
        for (const attempt of attempts.filter((_, i) => outcomes[i]?.status === "rejected")) {
          expect(await refusalOf(attempt)).toMatchObject({
            code: "ResourceExhausted",
            reason: "KEY_LIMIT_REACHED",
            domain: "claviger",
            hasQuotaFailure: true,
            metadata: { owner, limit: "10", keys: "10" },
          });
        }
        const back = expired[outcomes.findIndex(({ status }) => status === "fulfilled")]?.id ?? "";
        expect((await admin.keys.rotateKey({ keyId: back })).key?.state).toBe(KeyState.ACTIVE);
      });
    });

    it("does not free the place of a key whose old secret is still accepted, however short the new one's term", async () => {
      const { admin } = claviger();
      const owner = "rotate-place-kept";
      const secrets: string[] = [];
      for (let i = 0; i < 10; i++) {
        const { id, secret } = await makeKey(admin, { owner });
        secrets.push(secret);
        await admin.keys.rotateKey({ keyId: id, ttl: durationFromMs(1000) });
      }
      await sleep(1100);
      for (const secret of secrets) expect(await verdictOf(admin, secret)).toBe("VALID");
      const eleventh = admin.keys.createKey({ owner, displayName: "eleventh" });
      expect(await refusalOf(eleventh)).toMatchObject({ reason: "KEY_LIMIT_REACHED", metadata: { keys: "10" } });
    });

    it("refuses a sixth live secret, and takes it once one has ended", async () => {
      const { admin } = claviger();
      const { id } = await makeKey(admin, { owner: "rotate-many" });
      for (let live = 2; live <= 5; live++) await admin.keys.rotateKey({ keyId: id });
      const { key: before } = await admin.keys.getKey({ keyId: id });
      const refusal = await refusalOf(admin.keys.rotateKey({ keyId: id }));
      expect(refusal).toMatchObject({
        code: "FailedPrecondition",
        reason: "VERSION_LIMIT_REACHED",
        domain: "claviger",
        metadata: { key_id: id, limit: "5", secrets: "5" },
      });
      expect((await admin.keys.getKey({ keyId: id })).key).toEqual(before);
      await admin.keys.rotateKey({ keyId: id, gracePeriod: AT_ONCE });
      await admin.keys.retireSecret({ keyId: id, version: 1 });
      const { key } = await admin.keys.rotateKey({ keyId: id });
      expect(key?.secrets[0]).toMatchObject({ version: 7, state: SecretState.CURRENT });
    });

    it("makes one version each of rotations at once", async () => {
      const { admin } = claviger();
      const { id } = await makeKey(admin, { owner: "rotate-parallel" });
      const rotations = await Promise.all(
        Array.from({ length: 6 }, () => admin.keys.rotateKey({ keyId: id, gracePeriod: AT_ONCE })),
      );
      const versions = rotations.map(({ key }) => key?.secrets[0]?.version);
      expect(versions.toSorted()).toEqual([2, 3, 4, 5, 6, 7]);
      const verdicts = await Promise.all(rotations.map(({ secret }) => verdictOf(admin, secret)));
      expect(verdicts.filter((verdict) => verdict === "VALID")).toHaveLength(1);
    });

    it("refuses a revoked key", async () => {
      const { admin } = claviger();
      const { id } = await makeKey(admin, { owner: "rotate-revoked" });
      await admin.keys.revokeKey({ keyId: id });
      expect(await refusalOf(admin.keys.rotateKey({ keyId: id }))).toMatchObject({
        code: "FailedPrecondition",
        reason: "KEY_REVOKED",
        domain: "claviger",
        metadata: { key_id: id },
      });
    });

    it("refuses another etag than the key's, and takes the key's", async () => {
      const { admin } = claviger();
      const { id, key } = await makeKey(admin, { owner: "rotate-etag" });
      expect(await refusalOf(admin.keys.rotateKey({ keyId: id, etag: `${key.etag}x` }))).toMatchObject({
        code: "Aborted",
        reason: "ETAG_MISMATCH",
        domain: "claviger",
        metadata: { key_id: id, etag: key.etag },
      });
      await admin.keys.rotateKey({ keyId: id, etag: key.etag });
      expect(await refusalOf(admin.keys.rotateKey({ keyId: id, etag: key.etag }))).toMatchObject({ code: "Aborted" });
    });

    it("refuses a key that nobody has", async () => {
      expect(await refusalOf(claviger().admin.keys.rotateKey({ keyId: UNKNOWN_KEY_ID }))).toMatchObject({
        code: "NotFound",
        reason: "KEY_NOT_FOUND",
        domain: "claviger",
        metadata: { key_id: UNKNOWN_KEY_ID },
      });
    });

    it.each([
      ["an id that is none", { keyId: "key_1" }, "key_id"],
      ["a grace above 24 hours", { gracePeriod: durationFromMs(DAY_MS + 1) }, "grace_period"],
      ["a grace below zero", { gracePeriod: durationFromMs(-1) }, "grace_period"],
      ["a ttl above 90 days", { ttl: durationFromMs(90 * DAY_MS + 1) }, "ttl"],
      ["a ttl below a second", { ttl: durationFromMs(999) }, "ttl"],
      ["an etag of 65 bytes", { etag: "x".repeat(65) }, "etag"],
    ])("refuses %s", async (_, request, field) => {
      const call = claviger().admin.keys.rotateKey({ keyId: UNKNOWN_KEY_ID, ...request });
      expect(await refusalOf(call)).toMatchObject({
        code: "InvalidArgument",
        reason: "INVALID_FIELD",
        domain: "claviger",
        fields: [field],
      });
    });
  },
  { CLAVIGER_LEASE_MS: "3000" },
);
