import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { createAsyncIterable } from "@connectrpc/connect/protocol";
import { describe, expect, it } from "vitest";
import { type Clients, describeOnEachStorage } from "../../testkit/claviger.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { ageKey } from "./age-key.ts";
import { changeKey } from "./change-key.ts";
import { forge, mistype } from "./forge.ts";
import { makeKey, UNKNOWN_KEY_ID } from "./make-key.ts";
import { verdictOf } from "./verdict-of.ts";

const DAY_MS = 86_400_000;
const TOO_LONG = "x".repeat(5000);

/** Each method with the scope that it needs, and a request that breaks a rule: whoever may call is told so. */
const METHODS: readonly [string, string, (clients: Clients) => Promise<unknown>][] = [
  ["CreateKey", "claviger:keys.write", ({ keys }) => keys.createKey({})],
  ["GetKey", "claviger:keys.read", ({ keys }) => keys.getKey({})],
  ["ListKeys", "claviger:keys.read", ({ keys }) => keys.listKeys({ pageSize: -1 })],
  ["UpdateKey", "claviger:keys.write", ({ keys }) => keys.updateKey({})],
  ["RotateKey", "claviger:keys.write", ({ keys }) => keys.rotateKey({})],
  ["RetireSecret", "claviger:keys.revoke", ({ keys }) => keys.retireSecret({})],
  ["RevokeKey", "claviger:keys.revoke", ({ keys }) => keys.revokeKey({})],
  ["RevokeKeys", "claviger:keys.revoke", ({ keys }) => keys.revokeKeys({})],
  ["QueryUsage", "claviger:usage.read", ({ keys }) => keys.queryUsage({})],
  ["ListAuditEvents", "claviger:audit.read", ({ keys }) => keys.listAuditEvents({ pageSize: -1 })],
  ["Verify", "claviger:verify", ({ verifier }) => verifier.verify({ secret: TOO_LONG })],
  ["BatchVerify", "claviger:verify", ({ verifier }) => verifier.batchVerify({ requests: [{ secret: TOO_LONG }] })],
  ["Sync", "claviger:verify", ({ verifier }) => readAll(verifier.sync(createAsyncIterable([{}])))],
];

async function readAll(messages: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of messages);
}

const SCOPES = [...new Set(METHODS.map(([, scope]) => scope))];

describeOnEachStorage("Permissions", (claviger) => {
  /** A caller whose key has those scopes. */
  const caller = async (owner: string, ...scopes: string[]) => {
    const made = await makeKey(claviger().admin, { owner, scopes });
    return { ...made, ...claviger().as(made.secret) };
  };
  it("without a credential every method but ReportLeakedSecret is refused", async () => {
    const anybody = claviger().as(undefined);
    for (const [method, , call] of METHODS) {
      expect(await refusalOf(call(anybody)), method).toMatchObject({
        code: "Unauthenticated",
        reason: "CREDENTIAL_MISSING",
        domain: "claviger",
      });
    }
    expect(await refusalOf(anybody.keys.reportLeakedSecret({ secret: TOO_LONG }))).toMatchObject({
      code: "InvalidArgument",
    });
  });

  it("with a credential that is not VALID every method but ReportLeakedSecret is refused, and says which verdict", async () => {
    const { admin, storage, as } = claviger();
    const make = (fields: object = {}) => makeKey(admin, { owner: "caller-bad", scopes: ["claviger:*"], ...fields });
    const [revoked, disabled, expired, retired] = [await make(), await make(), await make(), await make()];
    await admin.keys.revokeKey({ keyId: revoked.id });
    await changeKey(admin, disabled.id, { disabled: true });
    await ageKey(storage, expired.id, 90 * DAY_MS);
    await admin.keys.rotateKey({ keyId: retired.id, gracePeriod: durationFromMs(0) });
    const elsewhere = await make({ allowedCidrs: ["10.0.0.0/8", "::1/128"] });
    const bad = [
      ["garbage", "MALFORMED"],
      ["eyJhbGciOiJub25lIn0.e30.", "MALFORMED"],
      [mistype(revoked.secret), "MALFORMED"],
      [forge(revoked.secret), "UNKNOWN"],
      [revoked.secret, "REVOKED"],
      [disabled.secret, "DISABLED"],
      [retired.secret, "RETIRED"],
      [expired.secret, "EXPIRED"],
      [elsewhere.secret, "ADDRESS_DENIED"],
    ] as const;
    for (const [token, verdict] of bad) {
      for (const [method, , call] of METHODS) {
        expect(await refusalOf(call(as(token))), `${method} by ${verdict}`).toMatchObject({
          code: "Unauthenticated",
          reason: "CREDENTIAL_INVALID",
          domain: "claviger",
          metadata: { verdict },
        });
      }
      await as(token).keys.reportLeakedSecret({});
    }
  });

  it.each(SCOPES)("the scope %s opens its methods and no other", async (held) => {
    const clients = await caller(`scope-${held}`, held);
    for (const [method, needed, call] of METHODS) {
      const expected =
        held === needed
          ? { code: "InvalidArgument", reason: "INVALID_FIELD" }
          : { code: "PermissionDenied", reason: "PERMISSION_DENIED", metadata: { permission: needed } };
      expect(await refusalOf(call(clients)), method).toMatchObject({ ...expected, domain: "claviger" });
    }
  });

  it.each([["*"], ["orders:*"], ["claviger"], ["claviger:keys:*"], ["claviger:keys"]])(
    "the scope %s opens nothing",
    async (held) => {
      const clients = await caller(`scope-${held}`, held);
      for (const [method, , call] of METHODS) {
        expect(await refusalOf(call(clients)), method).toMatchObject({ reason: "PERMISSION_DENIED" });
      }
    },
  );

  it("the scope claviger:* opens everything, from an address that the key allows", async () => {
    const { admin, as } = claviger();
    const { secret } = await makeKey(admin, {
      owner: "scope-admin",
      scopes: ["claviger:*"],
      allowedCidrs: ["127.0.0.0/8", "::1/128"],
    });
    for (const [method, , call] of METHODS) {
      expect(await refusalOf(call(as(secret))), method).toMatchObject({ code: "InvalidArgument" });
    }
  });

  it("a service may act for any owner", async () => {
    const { admin } = claviger();
    const { id } = await makeKey(admin, { owner: "any-owner" });
    const service = await caller("any-service", ...SCOPES);
    await service.keys.getKey({ keyId: id });
    expect((await service.keys.listKeys({ owner: "any-owner" })).keys).toHaveLength(1);
    const made = await makeKey(service, { owner: "any-owner", scopes: ["orders:read", "*"] });
    expect(made.key).toMatchObject({ owner: "any-owner", createdBy: { subject: "any-service", keyId: service.id } });
    await service.keys.rotateKey({ keyId: id });
    await service.keys.retireSecret({ keyId: id, version: 1 });
    await changeKey(service, id, { scopes: ["billing:*"] });
    expect(await verdictOf(service, made.secret)).toBe("VALID");
    await service.keys.revokeKey({ keyId: id });
    expect((await service.keys.revokeKeys({ owner: "any-owner" })).keyCount).toBe(1);
  });

  it("a key is its caller's owner's unless said otherwise", async () => {
    const service = await caller("default-owner", "claviger:keys.write");
    expect((await service.keys.createKey({ displayName: "k" })).key?.owner).toBe("default-owner");
    const { key } = await claviger().admin.keys.createKey({ displayName: "k" });
    expect(key?.owner).toBe("claviger:admin");
  });

  it("an owner that is reserved can be named by nobody else", async () => {
    const admins = await caller("reserved-service", "claviger:*");
    for (const owner of ["claviger:admin", "claviger:other", "claviger:"]) {
      expect(await refusalOf(makeKey(admins, { owner }))).toMatchObject({ code: "InvalidArgument", fields: ["owner"] });
    }
    expect(await refusalOf(makeKey(claviger().admin, { owner: "claviger:other" }))).toMatchObject({
      code: "InvalidArgument",
      fields: ["owner"],
    });
    await makeKey(claviger().admin, { owner: "claviger:admin" });
    await makeKey(claviger().admin, { owner: "claviger" });
  });

  it("the admin's keys have no maximum", async () => {
    const { admin } = claviger();
    for (let i = 0; i < 12; i++) await makeKey(admin, { owner: "" });
  });

  describe("refusals are decided in order", () => {
    it("what is invalid before what is not found", async () => {
      const { keys } = claviger().admin;
      const calls = [
        () => keys.rotateKey({ keyId: UNKNOWN_KEY_ID, gracePeriod: durationFromMs(2 * DAY_MS) }),
        () => keys.updateKey({ key: { id: UNKNOWN_KEY_ID }, updateMask: { paths: ["owner"] } }),
        () => keys.retireSecret({ keyId: UNKNOWN_KEY_ID, version: 0 }),
      ];
      for (const call of calls) expect(await refusalOf(call())).toMatchObject({ code: "InvalidArgument" });
    });

    it("what is invalid before what may not be granted", async () => {
      const writer = await caller("order-grant", "claviger:keys.write");
      const scopes = ["claviger:*"];
      const owned = { owner: "order-grant", scopes };
      expect(await refusalOf(makeKey(writer, { ...owned, ttl: durationFromMs(91 * DAY_MS) }))).toMatchObject({
        code: "InvalidArgument",
      });
      expect(await refusalOf(makeKey(writer, { owner: "claviger:x", scopes }))).toMatchObject({
        code: "InvalidArgument",
      });
    });

    it("what may not be granted before preconditions and etag", async () => {
      const { admin } = claviger();
      const writer = await caller("order-state", "claviger:keys.write");
      const { id } = await makeKey(admin, { owner: "order-state", scopes: ["claviger:verify"] });
      await admin.keys.revokeKey({ keyId: id });
      expect(await refusalOf(writer.keys.rotateKey({ keyId: id, etag: "wrong" }))).toMatchObject({
        reason: "SCOPE_NOT_GRANTABLE",
      });
      expect(await refusalOf(changeKey(writer, id, { scopes: ["claviger:*"] }))).toMatchObject({
        reason: "SCOPE_NOT_GRANTABLE",
      });
    });

    it("what may not be granted, and preconditions, before limits", async () => {
      const { admin, storage } = claviger();
      const writer = await caller("order-limit-service", "claviger:keys.write");
      const owner = "order-limit";
      const expired = await makeKey(admin, { owner });
      await ageKey(storage, expired.id, 90 * DAY_MS);
      for (let i = 0; i < 10; i++) await makeKey(admin, { owner });
      expect(await refusalOf(makeKey(writer, { owner, scopes: ["claviger:*"] }))).toMatchObject({
        reason: "SCOPE_NOT_GRANTABLE",
      });
      expect(await refusalOf(admin.keys.rotateKey({ keyId: expired.id, etag: "wrong" }))).toMatchObject({
        reason: "ETAG_MISMATCH",
      });
      expect(await refusalOf(admin.keys.rotateKey({ keyId: expired.id }))).toMatchObject({
        reason: "KEY_LIMIT_REACHED",
      });
    });
  });
});

const OPEN = ["Verify", "BatchVerify"];

describeOnEachStorage(
  "Permissions with CLAVIGER_VERIFY_ACCESS=open",
  (claviger) => {
    it("without a credential secrets may be verified by calls, and nothing else is permitted", async () => {
      const anybody = claviger().as(undefined);
      for (const [method, , call] of METHODS) {
        const reason = OPEN.includes(method) ? "INVALID_FIELD" : "CREDENTIAL_MISSING";
        expect(await refusalOf(call(anybody)), method).toMatchObject({ reason });
      }
    });
  },
  { CLAVIGER_VERIFY_ACCESS: "open" },
);
