import type { JsonObject } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { KeyState } from "#gen/claviger/v1/key_pb.js";
import { describeOnEachStorage } from "../../testkit/claviger.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { makeKey, UNKNOWN_KEY_ID } from "./make-key.ts";
import { verdictOf } from "./verdict-of.ts";

interface Changes {
  readonly etag?: string;
  readonly displayName?: string;
  readonly scopes?: string[];
  readonly labels?: Record<string, string>;
  readonly metadata?: JsonObject;
  readonly allowedCidrs?: string[];
  readonly disabled?: boolean;
}

describeOnEachStorage("UpdateKey", (claviger) => {
  const update = (key: Changes & { readonly id: string }, ...paths: string[]) =>
    claviger().admin.keys.updateKey({ key, updateMask: { paths } });

  const before = {
    displayName: "before",
    scopes: ["a", "b"],
    labels: { one: "1", two: "2" },
    metadata: { plan: "pro" },
    allowedCidrs: ["10.0.0.0/8"],
  };

  it.each<[string, Changes]>([
    ["display_name", { displayName: "after" }],
    ["scopes", { scopes: ["c:*"] }],
    ["labels", { labels: { three: "3" } }],
    ["labels", { labels: {} }],
    ["metadata", { metadata: { other: [1] } }],
    ["allowed_cidrs", { allowedCidrs: ["2001:db8::/32"] }],
    ["disabled", { disabled: true }],
  ])("replaces %s whole, and nothing else", async (path, change) => {
    const { id, key } = await makeKey(claviger().admin, { owner: `update-${path}`, ...before });
    const answer = await update({ ...before, displayName: "unasked", disabled: false, ...change, id }, path);
    const { state, etag, updateTime, heldFields, ...rest } = key;
    expect(answer.key).toMatchObject({ ...rest, ...change });
    expect(answer.key?.heldFields).toEqual(path === "disabled" ? ["disabled", ...heldFields] : heldFields);
    expect(answer.key?.displayName).toBe(change.displayName ?? "before");
    expect(answer.key?.labels).toEqual(change.labels ?? before.labels);
    expect(answer.key?.etag).not.toBe(etag);
    expect(answer.key?.state).toBe(change.disabled === true ? KeyState.DISABLED : state);
    const [updated, created] = [answer.key?.updateTime, updateTime].map((time) => (time ? timestampMs(time) : 0));
    expect(updated).toBeGreaterThanOrEqual(created ?? 0);
    expect((await claviger().admin.keys.getKey({ keyId: id })).key).toEqual(answer.key);
  });

  it("changes nothing where the values are those of the key: the etag stays, and the audit log has no event", async () => {
    const { admin } = claviger();
    const { id } = await makeKey(admin, { owner: "update-same", ...before });
    const paths = ["display_name", "scopes", "labels", "metadata", "allowed_cidrs", "disabled"];
    const first = await update({ id, ...before, disabled: true }, ...paths);
    const again = await update({ id, ...before, disabled: true }, ...paths);
    expect(again.key).toEqual(first.key);
    const { events } = await admin.keys.listAuditEvents({ keyId: id });
    expect(events.map(({ action }) => action)).toEqual(["key.updated", "key.created"]);
  });

  it("changes several fields at once, and unsets metadata", async () => {
    const { id } = await makeKey(claviger().admin, { owner: "update-several", ...before });
    const { key } = await update({ id, displayName: "after" }, "display_name", "metadata", "scopes");
    expect(key).toMatchObject({ displayName: "after", scopes: [], labels: before.labels });
    expect(key?.metadata).toBeUndefined();
  });

  it("can write back a key as it was read", async () => {
    const { id, key } = await makeKey(claviger().admin, { owner: "update-back", ...before });
    const updateMask = { paths: ["display_name"] };
    const answer = await claviger().admin.keys.updateKey({ key: { ...key, displayName: "after" }, updateMask });
    expect(answer.key).toMatchObject({ id, displayName: "after", labels: before.labels });
  });

  describe("with an etag", () => {
    it("refuses a change of a key that has changed since, and takes it with the new etag", async () => {
      const { id, key } = await makeKey(claviger().admin, { owner: "update-etag" });
      const { key: changed } = await update({ id, etag: key.etag, displayName: "first" }, "display_name");
      expect(await refusalOf(update({ id, etag: key.etag, displayName: "second" }, "display_name"))).toMatchObject({
        code: "Aborted",
        reason: "ETAG_MISMATCH",
        domain: "claviger",
        metadata: { key_id: id, etag: changed?.etag },
      });
      const { key: again } = await update({ id, etag: changed?.etag ?? "", displayName: "third" }, "display_name");
      expect(again?.displayName).toBe("third");
    });

    it("takes exactly one of many changes at once", async () => {
      const { id, key } = await makeKey(claviger().admin, { owner: "update-race" });
      const attempts = Array.from({ length: 8 }, (_, i) =>
        update({ id, etag: key.etag, displayName: `n${i}` }, "display_name"),
      );
      const outcomes = await Promise.allSettled(attempts);
      expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
      for (const attempt of attempts.filter((_, i) => outcomes[i]?.status === "rejected")) {
        expect(await refusalOf(attempt)).toMatchObject({ code: "Aborted", reason: "ETAG_MISMATCH" });
      }
    });

    it("lets the last writer win without one", async () => {
      const { id } = await makeKey(claviger().admin, { owner: "update-last" });
      await update({ id, displayName: "first" }, "display_name");
      const { key } = await update({ id, displayName: "second" }, "display_name");
      expect(key?.displayName).toBe("second");
    });
  });

  describe("taking something away", () => {
    it.each<[string, Changes, object, string]>([
      ["scopes", { scopes: ["a"] }, { requiredScopes: ["b"], clientIp: "10.0.0.1" }, "SCOPE_MISSING"],
      ["allowed_cidrs", { allowedCidrs: ["10.1.0.0/16"] }, { clientIp: "10.0.0.1" }, "ADDRESS_DENIED"],
      ["disabled", { disabled: true }, { clientIp: "10.0.0.1" }, "DISABLED"],
    ])("is obeyed once it has returned, and comes with a receipt: %s", async (path, change, question, verdict) => {
      const { admin } = claviger();
      const { id, secret } = await makeKey(admin, { owner: `update-away-${path}`, ...before });
      expect(await verdictOf(admin, secret, question)).toBe("VALID");
      const { receipt } = await update({ ...change, id }, path);
      expect(await verdictOf(admin, secret, question)).toBe(verdict);
      expect(receipt?.revision).toBeGreaterThan(0n);
      expect(receipt?.effectiveTime).toBeDefined();
      expect(receipt?.barrierDuration).toBeDefined();
    });

    it("comes with a receipt again when a disabled key is disabled again", async () => {
      const { id } = await makeKey(claviger().admin, { owner: "update-again" });
      await update({ id, disabled: true }, "disabled");
      expect((await update({ id, disabled: true }, "disabled")).receipt).toBeDefined();
    });
  });

  it.each<[string, Changes]>([
    ["display_name", { displayName: "after" }],
    ["labels", { labels: {} }],
    ["metadata", {}],
    ["scopes", { scopes: ["b", "c", "a"] }],
    ["allowed_cidrs", { allowedCidrs: [] }],
  ])("comes without a receipt when nothing is taken away: %s", async (path, change) => {
    const { id } = await makeKey(claviger().admin, { owner: `update-gives-${path}`, ...before });
    expect((await update({ ...change, id }, path)).receipt).toBeUndefined();
  });

  it("refuses a key that nobody has", async () => {
    const call = update({ id: UNKNOWN_KEY_ID, displayName: "x", etag: "wrong" }, "display_name");
    expect(await refusalOf(call)).toMatchObject({
      code: "NotFound",
      reason: "KEY_NOT_FOUND",
      domain: "claviger",
      metadata: { key_id: UNKNOWN_KEY_ID },
    });
  });

  it("refuses a revoked key, whatever is to be changed", async () => {
    const { admin } = claviger();
    const { id } = await makeKey(admin, { owner: "update-revoked" });
    await admin.keys.revokeKey({ keyId: id });
    for (const path of ["display_name", "disabled"]) {
      expect(await refusalOf(update({ id, displayName: "x", disabled: true }, path))).toMatchObject({
        code: "FailedPrecondition",
        reason: "KEY_REVOKED",
        domain: "claviger",
        metadata: { key_id: id },
      });
    }
  });

  const wrongPaths = [
    ...["*", "", "nothing", "displayName", "labels.one", "metadata.plan", "limits.burst", "secrets", "__proto__"],
    ...["id", "owner", "environment", "state", "create_time", "update_time", "expire_time", "revoke_time"],
    ...["last_used_time", "created_by", "revoked_by", "revoke_reason", "revoke_note", "etag"],
  ];
  it.each(wrongPaths)("refuses the path %j, also beside one that is right", async (path) => {
    const { id } = await makeKey(claviger().admin, { owner: `update-path-${path}` });
    for (const paths of [[path], ["display_name", path]]) {
      expect(await refusalOf(update({ id, displayName: "x" }, ...paths))).toMatchObject({
        code: "InvalidArgument",
        reason: "INVALID_FIELD",
        domain: "claviger",
        fields: ["update_mask"],
      });
    }
    expect((await claviger().admin.keys.getKey({ keyId: id })).key?.displayName).toBe("k");
  });

  it.each<[string, Changes & { readonly id?: string }, string, string]>([
    ["an id that is none", { id: "key_1" }, "display_name", "key.id"],
    ["an empty display name", { displayName: "" }, "display_name", "key.display_name"],
    ["a display name of 64 characters", { displayName: "x".repeat(64) }, "display_name", "key.display_name"],
    ["a scope with a capital", { scopes: ["A"] }, "scopes", "key.scopes[0]"],
    ["a label key with a capital", { labels: { A: "" } }, "labels", 'key.labels["A"]'],
    ["too much metadata", { metadata: { m: "x".repeat(4096) } }, "metadata", "key.metadata"],
    ["a CIDR that is none", { allowedCidrs: ["10.0.0.0"] }, "allowed_cidrs", "key.allowed_cidrs[0]"],
  ])("refuses %s", async (_, change, path, field) => {
    const call = update({ id: UNKNOWN_KEY_ID, displayName: "x", ...change }, path);
    expect(await refusalOf(call)).toMatchObject({
      code: "InvalidArgument",
      reason: "INVALID_FIELD",
      domain: "claviger",
      fields: [field],
    });
  });

  it("refuses a request without a key, an id, or a mask", async () => {
    const { keys } = claviger().admin;
    const key = { id: UNKNOWN_KEY_ID, displayName: "x" };
    const updateMask = { paths: ["display_name"] };
    expect(await refusalOf(keys.updateKey({ updateMask }))).toMatchObject({ fields: ["key"] });
    expect(await refusalOf(keys.updateKey({ key: { displayName: "x" }, updateMask }))).toMatchObject({
      reason: "INVALID_FIELD",
      fields: ["key"],
    });
    expect(await refusalOf(keys.updateKey({ key }))).toMatchObject({ fields: ["update_mask"] });
    expect(await refusalOf(keys.updateKey({ key, updateMask: {} }))).toMatchObject({ fields: ["update_mask"] });
  });
});
