import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, expect, it } from "vitest";
import { AuditOutcome } from "#gen/claviger/v1/audit_pb.js";
import { ActorKind, KeyState, SecretState } from "#gen/claviger/v1/key_pb.js";
import { type Clients, describeOnEachStorage } from "../../testkit/claviger.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { ADMIN_CLAIMS, createTestUsers } from "../../testkit/test-users.ts";
import { changeKey, type KeyChanges } from "./change-key.ts";
import { makeKey } from "./make-key.ts";
import { verdictOf } from "./verdict-of.ts";

const PERMISSION_DENIED = { code: "PermissionDenied", reason: "PERMISSION_DENIED", domain: "claviger" };
const users = createTestUsers();
afterAll(() => users.remove());

const actor = (owner: string) => ({ kind: ActorKind.USER, subject: owner, keyId: "", address: "127.0.0.1" });
const notGrantable = (scopes: string) => ({
  code: "PermissionDenied",
  reason: "SCOPE_NOT_GRANTABLE",
  domain: "claviger",
  metadata: { scopes },
});

describeOnEachStorage(
  "A user",
  (claviger) => {
    /** A user of `acme`, whose owner is `acme:<subject>`. */
    const user = (subject: string) => claviger().as(users.token(subject));
    const idsOf = async ({ keys }: Clients, request: Parameters<Clients["keys"]["listKeys"]>[0] = {}) =>
      (await keys.listKeys(request)).keys.map(({ id }) => id);

    it("manages the life of an own key, and is remembered as who did it", async () => {
      const { keys } = user("life");
      const { admin } = claviger();
      const { key: created, secret } = await keys.createKey({ displayName: "mine", scopes: ["orders:read"] });
      expect(created).toMatchObject({ owner: "acme:life", createdBy: actor("acme:life"), state: KeyState.ACTIVE });
      expect(await verdictOf(admin, secret)).toBe("VALID");
      const keyId = created?.id ?? "";
      expect((await keys.getKey({ keyId })).key).toEqual(created);

      const renamed = await keys.updateKey({
        key: { id: keyId, displayName: "ours" },
        updateMask: { paths: ["display_name"] },
      });
      expect(renamed.key?.displayName).toBe("ours");
      const rotated = await keys.rotateKey({ keyId });
      expect(await verdictOf(admin, secret)).toBe("VALID");
      expect(await verdictOf(admin, rotated.secret)).toBe("VALID");
      const { key: retired } = await keys.retireSecret({ keyId, version: 1 });
      expect(retired?.secrets.map(({ state }) => state)).toEqual([SecretState.CURRENT, SecretState.RETIRED]);
      expect(await verdictOf(admin, secret)).toBe("RETIRED");
      const { key: revoked } = await keys.revokeKey({ keyId, note: "done with it" });
      expect(revoked).toMatchObject({ state: KeyState.REVOKED, revokedBy: actor("acme:life") });
      expect(await verdictOf(admin, rotated.secret)).toBe("REVOKED");

      const { events } = await keys.listAuditEvents({ keyId });
      const steps = ["key.revoked", "secret.retired", "key.rotated", "key.updated", "key.created"];
      expect(events.map(({ action }) => action)).toEqual(steps);
      for (const event of events) {
        expect(event).toMatchObject({ actor: actor("acme:life"), owner: "acme:life", outcome: AuditOutcome.DONE });
      }
    });

    it("may name oneself as owner, and nobody else; a foreign owner gets no key", async () => {
      const ada = user("named");
      expect((await makeKey(ada, { owner: "acme:named" })).key.owner).toBe("acme:named");
      for (const owner of ["acme:namedx", "acme:name", "named", "globex:named", "claviger:admin", "claviger:x"]) {
        expect(await refusalOf(makeKey(ada, { owner })), owner).toMatchObject({
          ...PERMISSION_DENIED,
          metadata: { owner },
        });
        expect(await refusalOf(ada.keys.listKeys({ owner })), owner).toMatchObject(PERMISSION_DENIED);
      }
      expect(await idsOf(claviger().admin, { owner: "acme:namedx" })).toEqual([]);
    });

    it("lists own keys only, whatever the filter, and no page of another's list", async () => {
      const { admin } = claviger();
      const labels = { team: "shared" };
      const mine = [await makeKey(user("lists"), { owner: "", labels }), await makeKey(user("lists"), { owner: "" })];
      await makeKey(user("other"), { owner: "", labels });
      await makeKey(admin, { owner: "service-owner", labels });
      const ids = mine.map(({ id }) => id);
      expect(await idsOf(user("lists"))).toEqual(ids.toReversed());
      expect(await idsOf(user("lists"), { labelSelector: labels })).toEqual(ids.slice(0, 1));
      expect(await idsOf(user("lists"), { state: KeyState.ACTIVE })).toEqual(ids.toReversed());

      const { nextPageToken: ofAll } = await admin.keys.listKeys({ pageSize: 1 });
      const { nextPageToken: ofMine } = await user("lists").keys.listKeys({ pageSize: 1 });
      for (const [subject, pageToken] of [
        ["lists", ofAll],
        ["other", ofMine],
      ] as const) {
        expect(pageToken).not.toBe("");
        expect(await refusalOf(user(subject).keys.listKeys({ pageSize: 1, pageToken }))).toMatchObject({
          reason: "PAGE_TOKEN_INVALID",
        });
      }
    });

    it("sees own keys that others made, and may end them", async () => {
      const made = await makeKey(claviger().admin, { owner: "acme:given", scopes: ["claviger:verify"] });
      const given = user("given");
      expect(await idsOf(given)).toEqual([made.id]);
      await given.keys.retireSecret({ keyId: made.id, version: 1 });
      expect((await given.keys.revokeKey({ keyId: made.id })).key?.revokedBy).toMatchObject(actor("acme:given"));
    });

    it("revokes many at once among own keys only", async () => {
      const labels = { sweep: "yes" };
      const mine = await makeKey(user("sweeper"), { owner: "", labels });
      const spared = await makeKey(user("sweeper"), { owner: "" });
      const others = [
        await makeKey(user("swept"), { owner: "", labels }),
        await makeKey(claviger().admin, { owner: "sweep-service", labels }),
      ];
      const { keys } = user("sweeper");
      expect((await keys.revokeKeys({ labelSelector: labels, validateOnly: true })).keyCount).toBe(1);
      expect((await keys.revokeKeys({ labelSelector: labels })).keyCount).toBe(1);
      expect(await refusalOf(keys.revokeKeys({ owner: "acme:swept", labelSelector: labels }))).toMatchObject(
        PERMISSION_DENIED,
      );
      expect(await verdictOf(claviger().admin, mine.secret)).toBe("REVOKED");
      for (const { secret } of [spared, ...others]) expect(await verdictOf(claviger().admin, secret)).toBe("VALID");
    });

    it("changes nothing of another's key", async () => {
      const { admin } = claviger();
      const { id, key, secret } = await makeKey(user("victim"), { owner: "" });
      const thief = user("thief");
      const calls = [
        () => thief.keys.getKey({ keyId: id }),
        () => changeKey(thief, id, { disabled: true }),
        () => thief.keys.rotateKey({ keyId: id, gracePeriod: durationFromMs(0) }),
        () => thief.keys.retireSecret({ keyId: id, version: 1 }),
        () => thief.keys.revokeKey({ keyId: id }),
      ];
      for (const call of calls) expect(await refusalOf(call())).toMatchObject({ reason: "KEY_NOT_FOUND" });
      expect((await admin.keys.getKey({ keyId: id })).key).toEqual(key);
      expect(await verdictOf(admin, secret)).toBe("VALID");
    });

    it("reads what happened to own keys only", async () => {
      const mine = await makeKey(user("reader"), { owner: "" });
      await makeKey(user("unread"), { owner: "" });
      const { keys } = user("reader");
      const { events } = await keys.listAuditEvents({});
      expect(events.map(({ keyId, owner }) => [keyId, owner])).toEqual([[mine.id, "acme:reader"]]);
      expect((await keys.listAuditEvents({ actor: "acme:unread" })).events).toEqual([]);
      expect(await refusalOf(keys.listAuditEvents({ owner: "acme:unread" }))).toMatchObject(PERMISSION_DENIED);
      const { nextPageToken: pageToken } = await claviger().admin.keys.listAuditEvents({ pageSize: 1 });
      expect(await refusalOf(keys.listAuditEvents({ pageSize: 1, pageToken }))).toMatchObject({
        reason: "PAGE_TOKEN_INVALID",
      });
    });

    it("has 10 places, also for keys that an administrator makes", async () => {
      const ada = user("limit");
      await Promise.all(Array.from({ length: 9 }, () => makeKey(ada, { owner: "" })));
      const last = await makeKey(claviger().admin, { owner: "acme:limit" });
      for (const by of [ada, claviger().admin]) {
        expect(await refusalOf(makeKey(by, { owner: "acme:limit" }))).toMatchObject({
          code: "ResourceExhausted",
          reason: "KEY_LIMIT_REACHED",
          metadata: { owner: "acme:limit", limit: "10" },
          hasQuotaFailure: true,
        });
      }
      await makeKey(user("limitless"), { owner: "" });
      await ada.keys.revokeKey({ keyId: last.id });
      await makeKey(ada, { owner: "" });
    });

    it("does not verify, not even own secrets: that is for services", async () => {
      const ada = user("verifies");
      const { secret } = await makeKey(ada, { owner: "" });
      const refused = { ...PERMISSION_DENIED, metadata: { permission: "claviger:verify" } };
      expect(await refusalOf(ada.verifier.verify({ secret }))).toMatchObject(refused);
      expect(await refusalOf(ada.verifier.batchVerify({ requests: [{ secret }] }))).toMatchObject(refused);
    });

    it("is another owner than the same subject of another issuer, whatever that subject is called", async () => {
      const ofGlobex = (subject: string) => claviger().as(users.token(subject, { issuer: "globex" }));
      const mine = await makeKey(user("twin"), { owner: "" });
      for (const [subject, owner] of [
        ["twin", "globex:twin"],
        ["acme:twin", "globex:acme:twin"],
      ] as const) {
        const other = ofGlobex(subject);
        expect((await other.keys.createKey({ displayName: "k" })).key?.owner).toBe(owner);
        expect(await refusalOf(other.keys.rotateKey({ keyId: mine.id }))).toMatchObject({ reason: "KEY_NOT_FOUND" });
        expect(await refusalOf(makeKey(other, { owner: "acme:twin" }))).toMatchObject(PERMISSION_DENIED);
      }
      expect(await idsOf(user("twin"))).toEqual([mine.id]);
    });

    it("is an administrator as long as the token says so", async () => {
      const root = claviger().as(users.token("root", { claims: ADMIN_CLAIMS }));
      const scopes = ["claviger:keys.read", "claviger:*"];
      const { id, key } = await makeKey(root, { owner: "acme:ruled", scopes });
      expect(key).toMatchObject({ owner: "acme:ruled", scopes, createdBy: actor("acme:root") });
      expect((await root.keys.createKey({ displayName: "own" })).key?.owner).toBe("acme:root");
      await root.keys.rotateKey({ keyId: id });
      expect((await root.keys.listKeys({})).keys.some(({ owner }) => owner !== "acme:root")).toBe(true);
      expect((await root.keys.revokeKeys({ owner: "acme:ruled" })).keyCount).toBe(1);

      for (const claims of [{ roles: ["keys-admins"] }, { roles: [] }, { role: "keys-admin" }, {}]) {
        const plain = claviger().as(users.token("root", { claims }));
        expect(await refusalOf(plain.keys.getKey({ keyId: id })), JSON.stringify(claims)).toMatchObject({
          reason: "KEY_NOT_FOUND",
        });
        expect(await refusalOf(makeKey(plain, { owner: "", scopes }))).toMatchObject({ reason: "SCOPE_NOT_GRANTABLE" });
      }
    });

    it("grants any scope outside claviger:, and finds no way up", async () => {
      const { admin } = claviger();
      const ada = user("climber");
      const plain = await makeKey(ada, { owner: "", scopes: ["*", "orders:*", "clavigers:read"] });
      const cidrs = ["10.0.0.0/8"];
      const own = { owner: "acme:climber", allowedCidrs: cidrs, scopes: ["claviger:verify"] };
      const given = await makeKey(admin, own);
      for (const scope of ["claviger", "claviger:*", "claviger:verify", "claviger:keys.write", "claviger:x:*"]) {
        expect(await refusalOf(makeKey(ada, { owner: "", scopes: ["a", scope] }))).toMatchObject(notGrantable(scope));
        expect(await refusalOf(changeKey(ada, plain.id, { scopes: ["*", scope] }))).toMatchObject(notGrantable(scope));
      }
      expect(await refusalOf(ada.keys.rotateKey({ keyId: given.id }))).toMatchObject(notGrantable("claviger:verify"));
      const widenings: KeyChanges[] = [
        { scopes: ["claviger:verify", "orders:read"] },
        { scopes: ["*"] },
        { allowedCidrs: [] },
        { allowedCidrs: ["10.0.0.0/7"] },
      ];
      for (const change of widenings) {
        const refused = notGrantable("claviger:verify");
        expect(await refusalOf(changeKey(ada, given.id, change)), JSON.stringify(change)).toMatchObject(refused);
      }
      expect((await admin.keys.getKey({ keyId: given.id })).key).toEqual(given.key);

      await changeKey(ada, given.id, { disabled: true });
      for (const change of [{ disabled: false }, { disabled: false, scopes: [] }]) {
        expect(await refusalOf(changeKey(ada, given.id, change))).toMatchObject(notGrantable("claviger:verify"));
      }
      const narrowing = changeKey(ada, given.id, { scopes: [] });
      expect(await refusalOf(narrowing)).toMatchObject(notGrantable("claviger:verify"));
    });

    it("is remembered by the audit log where it tried", async () => {
      const ada = user("tried");
      const { id } = await makeKey(claviger().admin, { owner: "acme:tried", scopes: ["claviger:verify"] });
      await refusalOf(ada.keys.rotateKey({ keyId: id }));
      const { events } = await claviger().admin.keys.listAuditEvents({ actor: "acme:tried" });
      expect(events).toMatchObject([
        {
          action: "call.denied",
          outcome: AuditOutcome.DENIED,
          actor: actor("acme:tried"),
          keyId: id,
          details: { method: "RotateKey", reason: "SCOPE_NOT_GRANTABLE" },
        },
      ]);
    });
  },
  users.settings,
);

describeOnEachStorage(
  "A user whom policy lets grant orders:* only",
  (claviger) => {
    const ada = () => claviger().as(users.token("ada"));

    it("grants that and what is below it, and nothing else", async () => {
      for (const scopes of [[], ["orders:read"], ["orders:*", "orders:eu:write"]]) {
        expect((await makeKey(ada(), { owner: "", scopes })).key.scopes).toEqual(scopes);
      }
      for (const scope of ["orders", "billing:read", "*", "orders-archive:read", "claviger:*", "claviger:verify"]) {
        const call = makeKey(ada(), { owner: "", scopes: ["orders:read", scope] });
        expect(await refusalOf(call), scope).toMatchObject(notGrantable(scope));
      }
    });

    it("does not rotate, widen or enable a key with scopes from before, and may still narrow and end it", async () => {
      const { admin } = claviger();
      const old = await makeKey(admin, { owner: "acme:ada", scopes: ["orders:read", "billing:read"] });
      await changeKey(ada(), old.id, { disabled: true });
      const attempts = [
        () => ada().keys.rotateKey({ keyId: old.id }),
        () => changeKey(ada(), old.id, { scopes: ["orders:read", "billing:read", "orders:write"] }),
        () => changeKey(ada(), old.id, { disabled: false }),
        () => changeKey(ada(), old.id, { disabled: false, scopes: ["orders:read"] }),
      ];
      for (const attempt of attempts) expect(await refusalOf(attempt())).toMatchObject(notGrantable("billing:read"));
      await changeKey(ada(), old.id, { scopes: ["orders:read"] });
      await changeKey(ada(), old.id, { disabled: false });
      await ada().keys.rotateKey({ keyId: old.id });
      await ada().keys.revokeKey({ keyId: old.id });
    });

    it("binds neither administrators nor services", async () => {
      const root = claviger().as(users.token("root", { claims: ADMIN_CLAIMS }));
      await makeKey(root, { owner: "acme:bob", scopes: ["billing:read", "claviger:verify"] });
      const writer = await makeKey(claviger().admin, { owner: "svc", scopes: ["claviger:keys.write"] });
      await makeKey(claviger().as(writer.secret), { owner: "acme:bob", scopes: ["billing:read"] });
    });
  },
  { ...users.settings, CLAVIGER_POLICY: JSON.stringify({ access: { userGrantableScopes: ["orders:*"] } }) },
);
