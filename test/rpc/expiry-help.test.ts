import { durationFromMs, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import { SecretState } from "#gen/claviger/v1/key_pb.js";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { describeOnEachStorage } from "../../testkit/claviger.ts";
import { makeKey } from "./make-key.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

describeOnEachStorage("expiry that helps", (claviger) => {
  const idsBefore = async (owner: string, expiresBefore: number) => {
    const { keys } = await claviger().admin.keys.listKeys({ owner, expiresBefore: timestampFromMs(expiresBefore) });
    return keys.map(({ id }) => id);
  };
  const withTerm = (owner: string, ttlMs: number) => makeKey(claviger().admin, { owner, ttl: durationFromMs(ttlMs) });

  it("lists the keys whose current secret expires before an instant, newest first", async () => {
    const soon = await withTerm("expiry-list", HOUR_MS);
    const later = await withTerm("expiry-list", 10 * DAY_MS);
    await withTerm("expiry-list", 30 * DAY_MS);
    expect(await idsBefore("expiry-list", Date.now() + 14 * DAY_MS)).toEqual([later.id, soon.id]);
    const exactly = timeOf(soon.key.expireTime);
    expect(await idsBefore("expiry-list", exactly)).toEqual([]);
    expect(await idsBefore("expiry-list", exactly + 1)).toEqual([soon.id]);
  });

  it("leaves out a key that has been rotated to a longer term, though its old secret ends sooner", async () => {
    const { id: keyId } = await withTerm("expiry-rotated", HOUR_MS);
    expect(await idsBefore("expiry-rotated", Date.now() + DAY_MS)).toEqual([keyId]);
    await claviger().admin.keys.rotateKey({ keyId, ttl: durationFromMs(30 * DAY_MS) });
    expect(await idsBefore("expiry-rotated", Date.now() + DAY_MS)).toEqual([]);
  });

  it("tells with each verification when the secret ends, and that it is retiring", async () => {
    const { admin } = claviger();
    const { id: keyId, secret: old, key } = await withTerm("expiry-verify", 10 * DAY_MS);
    const fresh = await admin.verifier.verify({ secret: old });
    expect(timeOf(fresh.secretExpireTime)).toBe(timeOf(key.expireTime));
    expect(fresh.retireTime).toBeUndefined();

    const rotated = await admin.keys.rotateKey({ keyId, gracePeriod: durationFromMs(HOUR_MS) });
    const retiring = await admin.verifier.verify({ secret: old });
    expect(retiring.verdict).toBe(Verdict.VALID);
    expect(rotated.retiring?.state).toBe(SecretState.RETIRING);
    const end = timeOf(rotated.retiring?.retireTime);
    expect(end - timeOf(rotated.key?.updateTime)).toBe(HOUR_MS);
    expect(timeOf(retiring.retireTime)).toBe(end);
    expect(timeOf(retiring.secretExpireTime)).toBe(end);

    const current = await admin.verifier.verify({ secret: rotated.secret });
    expect(timeOf(current.secretExpireTime)).toBe(timeOf(rotated.key?.expireTime));
    expect(current.retireTime).toBeUndefined();
  });

  it("never tells an end after the secret's own expiry, however long the grace", async () => {
    const { admin } = claviger();
    const { id: keyId, secret, key } = await withTerm("expiry-grace", HOUR_MS);
    await admin.keys.rotateKey({ keyId, gracePeriod: durationFromMs(DAY_MS) });
    const retiring = await admin.verifier.verify({ secret });
    expect(timeOf(retiring.secretExpireTime)).toBe(timeOf(key.expireTime));
    expect(timeOf(retiring.retireTime)).toBe(timeOf(key.expireTime));
  });

  it("tells when a secret ended, also once it has", async () => {
    const { admin } = claviger();
    const { id: keyId, secret } = await withTerm("expiry-ended", DAY_MS);
    const { retiring } = await admin.keys.rotateKey({ keyId, gracePeriod: {} });
    const answer = await admin.verifier.verify({ secret });
    expect(answer.verdict).toBe(Verdict.RETIRED);
    expect(timeOf(answer.secretExpireTime)).toBe(timeOf(retiring?.retireTime));
    expect(answer.retireTime).toBeUndefined();
  });
});

function timeOf(time: Parameters<typeof timestampMs>[0] | undefined): number {
  if (time === undefined) throw new Error("there is no time");
  return timestampMs(time);
}
