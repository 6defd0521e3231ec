import { afterAll, expect, it } from "vitest";
import { describeOnEachStorage } from "../../testkit/claviger.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { ADMIN_CLAIMS, createTestUsers } from "../../testkit/test-users.ts";
import { changeKey, type KeyChanges } from "./change-key.ts";
import { makeKey } from "./make-key.ts";

const users = createTestUsers();
afterAll(() => users.remove());

describeOnEachStorage(
  "What an administrator or a service has set of a user's key",
  (claviger) => {
    const ada = () => claviger().as(users.token("ada"));
    const rootUser = () => claviger().as(users.token("root", { claims: ADMIN_CLAIMS }));
    const writer = async () => {
      const { secret } = await makeKey(claviger().admin, { owner: "platform", scopes: ["claviger:keys.write"] });
      return claviger().as(secret);
    };
    const limit = (id: string, requestsPerDay: number, clients = ada()) =>
      clients.keys.updateKey({ key: { id, limits: { requestsPerDay } }, updateMask: { paths: ["limits"] } });
    const unlimit = (id: string, clients = ada()) =>
      clients.keys.updateKey({ key: { id }, updateMask: { paths: ["limits"] } });
    const heldOf = async (id: string) => (await claviger().admin.keys.getKey({ keyId: id })).key?.heldFields;
    const denied = (keyId: string, field: string) => ({
      ...{ code: "PermissionDenied", reason: "PERMISSION_DENIED", metadata: { key_id: keyId, held_fields: field } },
      message: `an administrator or a service has set ${field} of key ${keyId}; the owner can only tighten it. Ask an administrator to change it`,
    });

    it.each([
      ["an administrator's key", async () => claviger().admin],
      ["a service with claviger:keys.write", writer],
      ["a user who is an administrator", async () => rootUser()],
    ])("the owner can tighten it and not loosen it, where it was set by %s", async (_, setter) => {
      const platform = await setter();
      const { id } = await makeKey(ada(), { owner: "" });
      expect(await heldOf(id)).toEqual([]);
      await changeKey(platform, id, { disabled: true, allowedCidrs: ["10.0.0.0/8"] });
      expect(await heldOf(id)).toEqual(["disabled", "allowed_cidrs"]);

      const before = (await claviger().admin.keys.getKey({ keyId: id })).key;
      const loosenings: [KeyChanges, string][] = [
        [{ disabled: false }, "disabled"],
        [{ allowedCidrs: [] }, "allowed_cidrs"],
        [{ allowedCidrs: ["10.0.0.0/8", "192.0.2.1/32"] }, "allowed_cidrs"],
        [{ disabled: false, allowedCidrs: [] }, "disabled,allowed_cidrs"],
      ];
      for (const [change, field] of loosenings) {
        const { metadata, ...rest } = denied(id, field);
        const refusal = await refusalOf(changeKey(ada(), id, change));
        expect(refusal).toMatchObject({
          ...rest,
          metadata,
          message: rest.message.replace(field, field.replace(",", ", ")),
        });
      }
      expect((await claviger().admin.keys.getKey({ keyId: id })).key).toEqual(before);

      await changeKey(ada(), id, { disabled: true, allowedCidrs: ["10.1.0.0/16"] });
      expect(await heldOf(id)).toEqual(["disabled", "allowed_cidrs"]);
      expect(await refusalOf(changeKey(ada(), id, { allowedCidrs: ["10.0.0.0/8"] }))).toMatchObject(
        denied(id, "allowed_cidrs"),
      );

      await changeKey(platform, id, { disabled: false, allowedCidrs: [] });
      expect(await heldOf(id)).toEqual([]);
      await changeKey(ada(), id, { disabled: true });
      await changeKey(ada(), id, { disabled: false, allowedCidrs: ["192.0.2.0/24"] });
      await changeKey(ada(), id, { allowedCidrs: [] });
      await claviger().admin.keys.revokeKey({ keyId: id });
    });

    it("what the owner has set is the owner's, and is held once another has set it to the same", async () => {
      const { id } = await makeKey(ada(), { owner: "", allowedCidrs: ["10.0.0.0/8"] });
      expect(await heldOf(id)).toEqual([]);
      await changeKey(claviger().admin, id, { scopes: ["orders:read"] });
      expect(await heldOf(id)).toEqual([]);
      await changeKey(claviger().admin, id, { allowedCidrs: ["10.0.0.0/8"] });
      expect(await heldOf(id)).toEqual(["allowed_cidrs"]);
      await claviger().admin.keys.revokeKey({ keyId: id });
    });

    it("what a service has set when it made the key for the user is held, and survives a rotation", async () => {
      const platform = await writer();
      const { id, key } = await makeKey(platform, { owner: "acme:ada", allowedCidrs: ["10.0.0.0/8"] });
      expect(key.heldFields).toEqual(["allowed_cidrs"]);
      await ada().keys.rotateKey({ keyId: id });
      expect(await refusalOf(changeKey(ada(), id, { allowedCidrs: [] }))).toMatchObject(denied(id, "allowed_cidrs"));
      await claviger().admin.keys.revokeKey({ keyId: id });
    });

    it("the owner ends the key, whatever is held", async () => {
      const { id } = await makeKey(claviger().admin, { owner: "acme:ada", allowedCidrs: ["10.0.0.0/8"] });
      await changeKey(ada(), id, { disabled: true });
      await ada().keys.revokeKey({ keyId: id });
    });

    it("an owner who is an administrator is held by nothing", async () => {
      const { id } = await makeKey(claviger().admin, { owner: "acme:root", allowedCidrs: ["10.0.0.0/8"] });
      await changeKey(rootUser(), id, { allowedCidrs: [] });
    });

    it("limits can be lowered by the owner, and not raised or removed", async () => {
      const { id } = await makeKey(ada(), { owner: "" });
      if (claviger().databaseUrl !== undefined) {
        // On Postgres limits take Redis, which this server lacks: nobody sets any, and none are held.
        expect(await refusalOf(limit(id, 100, claviger().admin))).toMatchObject({ reason: "LIMITER_NOT_CONFIGURED" });
        expect(await heldOf(id)).toEqual([]);
        return;
      }
      await limit(id, 100, claviger().admin);
      expect(await heldOf(id)).toEqual(["limits"]);
      for (const loosening of [() => limit(id, 101), () => unlimit(id)]) {
        expect(await refusalOf(loosening())).toMatchObject(denied(id, "limits"));
      }
      await limit(id, 99);
      expect(await refusalOf(limit(id, 100))).toMatchObject(denied(id, "limits"));
      await unlimit(id, claviger().admin);
      await limit(id, 5);
      await unlimit(id);
    });
  },
  users.settings,
);
