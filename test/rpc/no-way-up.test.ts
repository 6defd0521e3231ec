import { timestampMs } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import { KeyState } from "#gen/claviger/v1/key_pb.js";
import { describeOnEachStorage } from "../../testkit/claviger.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { changeKey, type KeyChanges } from "./change-key.ts";
import { makeKey } from "./make-key.ts";

describeOnEachStorage("There is no way up", (claviger) => {
  /** A caller whose key has those scopes. */
  const caller = async (owner: string, ...scopes: string[]) => {
    const made = await makeKey(claviger().admin, { owner, scopes });
    return { ...made, ...claviger().as(made.secret) };
  };
  const notGrantable = (scopes: string) => ({
    code: "PermissionDenied",
    reason: "SCOPE_NOT_GRANTABLE",
    domain: "claviger",
    metadata: { scopes },
  });

  it("by creating a key with scopes of Claviger", async () => {
    const writer = await caller("up-create", "claviger:keys.write", "*");
    for (const scope of ["claviger:*", "claviger:verify", "claviger:keys.write", "claviger:x:*"]) {
      const call = makeKey(writer, { owner: "up-create", scopes: ["orders:read", scope] });
      expect(await refusalOf(call)).toMatchObject(notGrantable(scope));
    }
    expect((await makeKey(claviger().admin, { owner: "up-create", scopes: ["claviger:*"] })).key.scopes).toEqual([
      "claviger:*",
    ]);
  });

  it("by rotating a key that has scopes of Claviger, one's own too", async () => {
    const { admin } = claviger();
    const writer = await caller("up-rotate", "claviger:keys.write");
    const verifier = await makeKey(admin, { owner: "up-rotate", scopes: ["orders:read", "claviger:verify"] });
    const boss = await makeKey(admin, { owner: "up-rotate", scopes: ["claviger:*"] });
    expect(await refusalOf(writer.keys.rotateKey({ keyId: verifier.id }))).toMatchObject(
      notGrantable("claviger:verify"),
    );
    expect(await refusalOf(writer.keys.rotateKey({ keyId: boss.id }))).toMatchObject(notGrantable("claviger:*"));
    expect(await refusalOf(writer.keys.rotateKey({ keyId: writer.id }))).toMatchObject(
      notGrantable("claviger:keys.write"),
    );
    expect((await admin.keys.getKey({ keyId: boss.id })).key?.secrets).toHaveLength(1);
    await admin.keys.rotateKey({ keyId: boss.id });
  });

  it("by widening a key that has, or would get, scopes of Claviger", async () => {
    const { admin } = claviger();
    const writer = await caller("up-widen", "claviger:keys.write", "*");
    const plain = await makeKey(admin, { owner: "up-widen", scopes: ["orders:read"] });
    const verifier = await makeKey(admin, {
      owner: "up-widen",
      scopes: ["claviger:verify"],
      allowedCidrs: ["10.0.0.0/8"],
    });
    const attempts: [string, KeyChanges, string][] = [
      [plain.id, { scopes: ["orders:read", "claviger:keys.read"] }, "claviger:keys.read"],
      [verifier.id, { scopes: ["claviger:verify", "orders:read"] }, "claviger:verify"],
      [verifier.id, { scopes: ["*"] }, "claviger:verify"],
      [verifier.id, { allowedCidrs: [] }, "claviger:verify"],
      [verifier.id, { allowedCidrs: ["10.0.0.0/7"] }, "claviger:verify"],
      [writer.id, { scopes: ["claviger:*"] }, "claviger:keys.write,claviger:*"],
    ];
    for (const [id, change, refused] of attempts) {
      expect(await refusalOf(changeKey(writer, id, change))).toMatchObject(notGrantable(refused));
    }
    expect((await admin.keys.getKey({ keyId: verifier.id })).key).toEqual(verifier.key);
  });

  it("by enabling a key that has scopes of Claviger, also when they are taken away on the way", async () => {
    const { admin } = claviger();
    const writer = await caller("up-enable", "claviger:keys.write");
    const boss = await makeKey(admin, { owner: "up-enable", scopes: ["claviger:*"] });
    expect((await changeKey(admin, boss.id, { disabled: true })).key?.state).toBe(KeyState.DISABLED);
    for (const change of [{ disabled: false }, { disabled: false, scopes: [] }]) {
      expect(await refusalOf(changeKey(writer, boss.id, change))).toMatchObject(notGrantable("claviger:*"));
    }
    expect((await changeKey(admin, boss.id, { disabled: false })).key?.state).toBe(KeyState.ACTIVE);
  });

  it("by disarming an administrator: a lesser service neither changes nor ends a key with scopes of Claviger", async () => {
    const { admin } = claviger();
    const lesser = await caller("up-lesser", "claviger:keys.write", "claviger:keys.revoke");
    const boss = await makeKey(admin, { owner: "up-boss", scopes: ["claviger:*"] });
    const verifier = await makeKey(admin, { owner: "up-boss", scopes: ["orders:read", "claviger:verify"] });
    const plain = await makeKey(admin, { owner: "up-boss", scopes: ["*"], labels: { team: "up-boss" } });
    for (const { id, key } of [boss, verifier]) {
      const scopes = key.scopes.filter((scope) => scope.startsWith("claviger")).join();
      const attempts: (() => Promise<unknown>)[] = [
        () => changeKey(lesser, id, { allowedCidrs: ["192.0.2.0/24"] }),
        () => changeKey(lesser, id, { scopes: [] }),
        () => changeKey(lesser, id, { disabled: true }),
        () => lesser.keys.updateKey({ key: { id, displayName: "x" }, updateMask: { paths: ["display_name"] } }),
        () => lesser.keys.updateKey({ key: { id }, updateMask: { paths: ["metadata"] } }),
        () => lesser.keys.updateKey({ key: { id }, updateMask: { paths: ["labels"] } }),
        () => lesser.keys.rotateKey({ keyId: id }),
        () => lesser.keys.retireSecret({ keyId: id, version: 1 }),
        () => lesser.keys.revokeKey({ keyId: id }),
      ];
      for (const [index, attempt] of attempts.entries()) {
        expect(await refusalOf(attempt()), String(index)).toMatchObject(notGrantable(scopes));
      }
      expect((await admin.keys.getKey({ keyId: id })).key).toEqual(key);
    }

    const bulk = { owner: "up-boss" };
    for (const validateOnly of [true, false]) {
      const refusal = await refusalOf(lesser.keys.revokeKeys({ ...bulk, validateOnly }));
      expect(refusal).toMatchObject({
        reason: "SCOPE_NOT_GRANTABLE",
        metadata: { key_ids: [boss.id, verifier.id].sort().join() },
      });
      expect(refusal.message).toMatch(/No key was revoked\. Narrow the selection, or have an administrator revoke it$/);
    }
    expect((await admin.keys.getKey({ keyId: plain.id })).key).toEqual(plain.key);
    expect((await lesser.keys.revokeKeys({ labelSelector: { team: "up-boss" } })).keyCount).toBe(1);
    expect((await admin.keys.revokeKeys(bulk)).keyCount).toBe(2);
  });

  it("while a key may end itself, and a leaked administrator's key can be reported", async () => {
    const { admin, as } = claviger();
    const retiring = await caller("up-self", "claviger:keys.revoke");
    await retiring.keys.retireSecret({ keyId: retiring.id, version: 1 });
    const revoking = await caller("up-self", "claviger:keys.revoke");
    await revoking.keys.revokeKey({ keyId: revoking.id });
    const clearing = await caller("up-self-all", "claviger:keys.revoke");
    expect((await clearing.keys.revokeKeys({ owner: "up-self-all" })).keyCount).toBe(1);
    const disabling = await caller("up-self", "claviger:keys.write");
    await changeKey(disabling, disabling.id, { disabled: true });
    const boss = await makeKey(admin, { owner: "up-self", scopes: ["claviger:*"] });
    await as(undefined).keys.reportLeakedSecret({ secret: boss.secret });
    expect((await admin.keys.getKey({ keyId: boss.id })).key?.state).toBe(KeyState.REVOKED);
  });

  it("by creating with a key that is being revoked: none is made after the revocation", async () => {
    const { admin, as } = claviger();
    for (let round = 0; round < 4; round++) {
      const dying = await makeKey(admin, { owner: `up-dying-${round}`, scopes: ["claviger:keys.write"] });
      const attempts = Array.from({ length: 12 }, (_, i) =>
        makeKey(as(dying.secret), { owner: `up-dying-${round}-${i}` }),
      );
      const settled = Promise.allSettled(attempts);
      const { key } = await admin.keys.revokeKey({ keyId: dying.id });
      const revoked = key?.revokeTime === undefined ? 0 : timestampMs(key.revokeTime);
      for (const [index, outcome] of (await settled).entries()) {
        if (outcome.status === "fulfilled") {
          const created = outcome.value.key.createTime;
          expect(created && timestampMs(created)).toBeLessThanOrEqual(revoked);
        } else {
          const attempt = attempts[index] ?? Promise.resolve();
          expect(await refusalOf(attempt)).toMatchObject({
            reason: "CREDENTIAL_INVALID",
            metadata: { verdict: "REVOKED" },
          });
        }
      }
    }
  });

  it("by acting with scopes that were taken away meanwhile", async () => {
    const { admin } = claviger();
    const writer = await caller("up-stripped", "claviger:keys.write", "claviger:keys.read");
    await changeKey(admin, writer.id, { scopes: ["claviger:keys.read"] });
    expect(await refusalOf(makeKey(writer, { owner: "up-stripped" }))).toMatchObject({
      reason: "PERMISSION_DENIED",
      metadata: { permission: "claviger:keys.write" },
    });
    await writer.keys.getKey({ keyId: writer.id });
  });
});
