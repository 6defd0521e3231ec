import { timestampMs } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import { KeyState } from "#gen/claviger/v1/key_pb.js";
import { describeOnEachStorage } from "../support/claviger.ts";
import { refusalOf } from "../support/refusal.ts";
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
    expect((await changeKey(writer, boss.id, { disabled: true })).key?.state).toBe(KeyState.DISABLED);
    for (const change of [{ disabled: false }, { disabled: false, scopes: [] }]) {
      expect(await refusalOf(changeKey(writer, boss.id, change))).toMatchObject(notGrantable("claviger:*"));
    }
    expect((await changeKey(admin, boss.id, { disabled: false })).key?.state).toBe(KeyState.ACTIVE);
  });

  it("while narrowing and renaming such a key stay allowed", async () => {
    const { admin } = claviger();
    const writer = await caller("up-narrow", "claviger:keys.write");
    const { id } = await makeKey(admin, { owner: "up-narrow", scopes: ["claviger:verify", "claviger:keys.read"] });
    await changeKey(writer, id, { scopes: ["claviger:verify"], allowedCidrs: ["10.0.0.0/8"] });
    await writer.keys.updateKey({ key: { id, displayName: "x" }, updateMask: { paths: ["display_name"] } });
    await changeKey(writer, id, { disabled: true });
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
