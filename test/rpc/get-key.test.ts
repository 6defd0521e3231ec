import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import { KeyState, SecretState } from "#gen/claviger/v1/key_pb.js";
import { describeOnEachStorage } from "../../testkit/claviger.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { ageKey } from "./age-key.ts";
import { makeKey, UNKNOWN_KEY_ID } from "./make-key.ts";

const DAY_MS = 86_400_000;

describeOnEachStorage("GetKey", (claviger) => {
  const read = async (keyId: string) => {
    const { key } = await claviger().admin.keys.getKey({ keyId });
    if (key === undefined) throw new Error("GetKey answered without a key");
    return key;
  };

  it("gives the key as it was created, without its secret", async () => {
    const { id, key, secret } = await makeKey(claviger().admin, {
      owner: "get-created",
      labels: { team: "blue" },
      metadata: { secret: "no" },
    });
    expect(await read(id)).toEqual(key);
    expect(JSON.stringify((await read(id)).secrets, (_, value) => String(value))).not.toContain(secret.slice(9, -4));
  });

  it("shows the first state that applies of revoked, disabled, expired, active", async () => {
    const { admin, storage } = claviger();
    const { id } = await makeKey(admin, { owner: "get-state" });
    expect((await read(id)).state).toBe(KeyState.ACTIVE);
    await ageKey(storage, id, 90 * DAY_MS);
    expect(await read(id)).toMatchObject({ state: KeyState.EXPIRED, secrets: [{ state: SecretState.EXPIRED }] });
    await admin.keys.updateKey({ key: { id, disabled: true }, updateMask: { paths: ["disabled"] } });
    expect(await read(id)).toMatchObject({ state: KeyState.DISABLED, disabled: true });
    await admin.keys.revokeKey({ keyId: id });
    expect((await read(id)).state).toBe(KeyState.REVOKED);
  });

  it("shows every live secret and the last ten others, newest first", async () => {
    const { admin } = claviger();
    const { id } = await makeKey(admin, { owner: "get-secrets" });
    for (let version = 1; version <= 14; version++) {
      await admin.keys.rotateKey({ keyId: id, gracePeriod: durationFromMs(version === 2 ? DAY_MS : 0) });
    }
    const { secrets } = await read(id);
    const shown = secrets.map(({ version }) => version);
    expect(shown).toEqual([15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 2]);
    expect(secrets.map(({ state }) => state)).toEqual([
      SecretState.CURRENT,
      ...Array.from({ length: 10 }, () => SecretState.RETIRED),
      SecretState.RETIRING,
    ]);
  });

  it("keeps the etag while nothing changes, and changes it with every change", async () => {
    const { admin } = claviger();
    const { id, key, secret } = await makeKey(admin, { owner: "get-etag" });
    await admin.verifier.verify({ secret });
    const etags = [key.etag, (await read(id)).etag];
    expect(etags[1]).toBe(etags[0]);
    for (const change of [
      () => admin.keys.updateKey({ key: { id, displayName: "x" }, updateMask: { paths: ["display_name"] } }),
      () => admin.keys.rotateKey({ keyId: id }),
      () => admin.keys.retireSecret({ keyId: id, version: 1 }),
      () => admin.keys.revokeKey({ keyId: id }),
    ]) {
      const changed = await change();
      expect(etags).not.toContain(changed.key?.etag);
      expect((await read(id)).etag).toBe(changed.key?.etag);
      etags.push(changed.key?.etag ?? "");
    }
  });

  it("refuses an id that nobody has, and one that is none", async () => {
    const { admin } = claviger();
    expect(await refusalOf(admin.keys.getKey({ keyId: UNKNOWN_KEY_ID }))).toMatchObject({
      code: "NotFound",
      reason: "KEY_NOT_FOUND",
      domain: "claviger",
      metadata: { key_id: UNKNOWN_KEY_ID },
    });
    for (const keyId of [
      "",
      "key_1",
      UNKNOWN_KEY_ID.toUpperCase(),
      `${UNKNOWN_KEY_ID}\n`,
      `key_8${UNKNOWN_KEY_ID.slice(5)}`,
    ]) {
      expect(await refusalOf(admin.keys.getKey({ keyId }))).toMatchObject({
        code: "InvalidArgument",
        reason: "INVALID_FIELD",
        fields: ["key_id"],
      });
    }
  });
});
