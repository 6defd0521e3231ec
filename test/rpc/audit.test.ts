import { createHash, randomUUID } from "node:crypto";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import canonicalize from "canonicalize";
import { describe, expect, it } from "vitest";
import { type AuditEvent, AuditOutcome } from "#gen/claviger/v1/audit_pb.js";
import { ActorKind, RevocationReason } from "#gen/claviger/v1/key_pb.js";
import { walkChain } from "../../src/postgres/audit.ts";
import { type Clients, describeOnEachStorage } from "../../testkit/claviger.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { type MadeKey, makeKey, UNKNOWN_KEY_ID } from "./make-key.ts";

type EventFilter = Parameters<Clients["keys"]["listAuditEvents"]>[0];

describeOnEachStorage("the audit log", (claviger) => {
  /** Oldest first. */
  const events = async (filter: EventFilter) =>
    (await claviger().admin.keys.listAuditEvents({ pageSize: 1000, ...filter })).events.toReversed();
  const actionsOf = async (keyId: string) => (await events({ keyId })).map(({ action }) => action);
  const lastSequence = async () =>
    (await claviger().admin.keys.listAuditEvents({ pageSize: 1 })).events[0]?.sequence ?? 0n;
  /** What was written since `before`. */
  const since = async (before: bigint) => (await events({})).filter(({ sequence }) => sequence > before);

  /** A service with those scopes, the events of its own creation aside. */
  async function service(scopes: string[]): Promise<MadeKey> {
    return makeKey(claviger().admin, { owner: `auditing-${randomUUID()}`, scopes });
  }

  describe("gets exactly one event", () => {
    /** What `call`, made by a service under a request id, has written about the key. */
    async function written(
      keyId: string,
      call: (keys: Clients["keys"], headers: Record<string, string>) => Promise<unknown>,
    ) {
      const caller = await service(["claviger:keys.write", "claviger:keys.revoke"]);
      const before = await lastSequence();
      const requestId = `call-${randomUUID()}`;
      await call(claviger().as(caller.secret).keys, { "x-request-id": requestId });
      const found = await since(before);
      for (const event of found) {
        expect(event).toMatchObject({
          outcome: AuditOutcome.DONE,
          requestId,
          actor: { kind: ActorKind.SERVICE, subject: caller.key.owner, keyId: caller.id, address: "127.0.0.1" },
          ...(keyId === "" ? {} : { keyId }),
        });
      }
      return found;
    }

    it("for a key that is created", async () => {
      let made: { id: string; expires: string } | undefined;
      const found = await written("", async (keys, headers) => {
        const request = { owner: "audit-create", displayName: "robot", scopes: ["a:read"] };
        const { key } = await keys.createKey(request, { headers });
        made = { id: key?.id ?? "", expires: new Date(timeOf(key?.expireTime)).toISOString() };
      });
      const details = { display_name: "robot", environment: "live", scopes: ["a:read"], expire_time: made?.expires };
      expect(found).toMatchObject([{ action: "key.created", keyId: made?.id, owner: "audit-create", details }]);
    });

    it("for a key that is updated, with the old and the new of what verification sees", async () => {
      const { id } = await makeKey(claviger().admin, { owner: "audit-update", scopes: ["a:read"] });
      const key = { id, scopes: ["b:read"], displayName: "renamed", disabled: true };
      const updateMask = { paths: ["scopes", "display_name", "disabled"] };
      const found = await written(id, (keys, headers) => keys.updateKey({ key, updateMask }, { headers }));
      expect(found).toMatchObject([{ action: "key.updated", owner: "audit-update" }]);
      expect(found[0]?.details).toEqual({
        fields: ["scopes", "displayName", "disabled"],
        scopes: { from: ["a:read"], to: ["b:read"] },
        disabled: { from: false, to: true },
      });
    });

    it("for a key that is rotated", async () => {
      const { id } = await makeKey(claviger().admin, { owner: "audit-rotate" });
      const found = await written(id, (keys, headers) =>
        keys.rotateKey({ keyId: id, gracePeriod: { seconds: 60n } }, { headers }),
      );
      expect(found).toMatchObject([
        { action: "key.rotated", owner: "audit-rotate", details: { version: 2, grace_ms: 60_000 } },
      ]);
    });

    it("for a secret that is retired, and none when it is retired again", async () => {
      const { id } = await makeKey(claviger().admin, { owner: "audit-retire" });
      await claviger().admin.keys.rotateKey({ keyId: id });
      const retire = (keys: Clients["keys"], headers: Record<string, string>) =>
        keys.retireSecret({ keyId: id, version: 1 }, { headers });
      expect(await written(id, retire)).toMatchObject([
        { action: "secret.retired", owner: "audit-retire", details: { version: 1 } },
      ]);
      expect(await written(id, retire)).toEqual([]);
    });

    it("for a key that is revoked, and none when it is revoked again", async () => {
      const { id } = await makeKey(claviger().admin, { owner: "audit-revoke" });
      const revoke = (keys: Clients["keys"], headers: Record<string, string>) =>
        keys.revokeKey({ keyId: id, reason: RevocationReason.POLICY, note: "end of term" }, { headers });
      expect(await written(id, revoke)).toMatchObject([
        { action: "key.revoked", owner: "audit-revoke", details: { reason: "policy", note: "end of term" } },
      ]);
      expect(await written(id, revoke)).toEqual([]);
    });

    it("for each key that is revoked in bulk, and none when they are only counted", async () => {
      const owner = "audit-bulk";
      const made = await Promise.all([1, 2, 3].map(() => makeKey(claviger().admin, { owner })));
      await claviger().admin.keys.revokeKey({ keyId: made[0]?.id ?? "" });
      expect(await written("", (keys) => keys.revokeKeys({ owner, validateOnly: true }))).toEqual([]);
      const revoke = (keys: Clients["keys"], headers: Record<string, string>) =>
        keys.revokeKeys({ owner }, { headers });
      const found = await written("", revoke);
      expect(found.map(({ action }) => action)).toEqual(["key.revoked", "key.revoked"]);
      expect(new Set(found.map(({ keyId }) => keyId))).toEqual(new Set(made.slice(1).map(({ id }) => id)));
      expect(await written("", revoke)).toEqual([]);
    });
  });

  it("remembers who was given the first admin key, by whom", async () => {
    const [first] = await events({ owner: "claviger:admin" });
    expect(first).toMatchObject({ action: "key.created", actor: { kind: ActorKind.SYSTEM, subject: "", keyId: "" } });
  });

  describe("of leaked secrets", () => {
    const report = (secret: string, source = "a public repository") =>
      claviger().as(undefined).keys.reportLeakedSecret({ secret, source });

    it("tells the report and the revocation of a live one, by its holder", async () => {
      const { id, secret } = await makeKey(claviger().admin, { owner: "audit-leak" });
      const before = await lastSequence();
      await report(secret);
      const actor = { kind: ActorKind.HOLDER, subject: "", keyId: id, address: "127.0.0.1" };
      const about = { actor, keyId: id, owner: "audit-leak", outcome: AuditOutcome.DONE };
      const details = { version: 1, source: "a public repository", revoked: true };
      const found = (await since(before)).sort((a, b) => b.action.localeCompare(a.action));
      expect(found).toMatchObject([
        { ...about, action: "secret.leak_reported", details },
        { ...about, action: "key.revoked", details: { reason: "compromised", note: "a public repository" } },
      ]);
    });

    it("tells the report alone of a dead one", async () => {
      const { id, secret } = await makeKey(claviger().admin, { owner: "audit-leak-dead" });
      await claviger().admin.keys.rotateKey({ keyId: id, gracePeriod: {} });
      const before = await lastSequence();
      await report(secret);
      expect(await since(before)).toMatchObject([
        { action: "secret.leak_reported", keyId: id, details: { version: 1, revoked: false } },
      ]);
    });

    it("has nothing of what is no secret of ours, and no secret that was pasted into the source", async () => {
      const { id, secret } = await makeKey(claviger().admin, { owner: "audit-leak-paste" });
      const before = await lastSequence();
      await report("not a secret");
      await report(`${secret.slice(0, -1)}${secret.endsWith("A") ? "B" : "A"}`);
      expect(await since(before)).toEqual([]);
      await report(secret, `found ${secret} in a log`);
      const found = await events({ keyId: id });
      expect(found).toHaveLength(3);
      expect(JSON.stringify(found.map(({ details }) => details))).not.toContain(secret.slice(10, 30));
    });
  });

  describe("of denied calls", () => {
    const denied = async (before: bigint) => {
      const found = await since(before);
      for (const event of found) expect(event).toMatchObject({ action: "call.denied", outcome: AuditOutcome.DENIED });
      return found;
    };

    it("has a caller without the scope of the method", async () => {
      const caller = await service(["claviger:keys.read"]);
      const before = await lastSequence();
      const headers = { "x-request-id": "denied-1" };
      const call = claviger().as(caller.secret).keys.createKey({ owner: "x", displayName: "k" }, { headers });
      expect((await refusalOf(call)).reason).toBe("PERMISSION_DENIED");
      expect(await denied(before)).toMatchObject([
        {
          actor: { kind: ActorKind.SERVICE, subject: caller.key.owner, keyId: caller.id, address: "127.0.0.1" },
          requestId: "denied-1",
          details: { method: "CreateKey", reason: "PERMISSION_DENIED" },
        },
      ]);
    });

    it("has a caller that tries to grant what it may not, once for no key and once in the log of each key", async () => {
      const caller = await service(["claviger:keys.write"]);
      const target = await makeKey(claviger().admin, { owner: "audit-denied", scopes: ["claviger:keys.read"] });
      const before = await lastSequence();
      const { keys } = claviger().as(caller.secret);
      const attempts = [
        () => keys.createKey({ owner: "audit-denied", displayName: "k", scopes: ["claviger:*"] }),
        () => keys.rotateKey({ keyId: target.id }),
        () => keys.updateKey({ key: { id: target.id, scopes: ["claviger:*"] }, updateMask: { paths: ["scopes"] } }),
      ];
      for (const attempt of attempts) expect((await refusalOf(attempt())).reason).toBe("SCOPE_NOT_GRANTABLE");
      const actor = { keyId: caller.id };
      const details = { method: "CreateKey", reason: "SCOPE_NOT_GRANTABLE", asked_owner: "audit-denied" };
      expect(await denied(before)).toMatchObject([
        { actor, owner: "", keyId: "", details },
        {
          ...{ actor, owner: "audit-denied", keyId: target.id },
          details: { method: "RotateKey", reason: "SCOPE_NOT_GRANTABLE" },
        },
      ]);
    });

    it("has nothing in the log of an owner, or of a key that is not there, which the call only names", async () => {
      const { as, admin } = claviger();
      const caller = await service(["claviger:keys.write", "claviger:keys.revoke"]);
      await makeKey(admin, { owner: "audit-victim", scopes: ["claviger:*"] });
      const { keys } = as(caller.secret);
      const before = await lastSequence();
      const create = keys.createKey({ owner: "audit-victim", displayName: "k", scopes: ["claviger:*"] });
      expect((await refusalOf(create)).reason).toBe("SCOPE_NOT_GRANTABLE");
      expect((await refusalOf(keys.revokeKeys({ owner: "audit-victim" }))).reason).toBe("SCOPE_NOT_GRANTABLE");
      const read = await service(["claviger:audit.read"]);
      expect((await refusalOf(as(read.secret).keys.getKey({ keyId: UNKNOWN_KEY_ID }))).reason).toBe(
        "PERMISSION_DENIED",
      );
      expect((await events({ owner: "audit-victim" })).map(({ action }) => action)).toEqual(["key.created"]);
      expect(await events({ keyId: UNKNOWN_KEY_ID })).toEqual([]);
      expect(await since(before)).toHaveLength(3);
    });

    it("has one event of a caller that is denied again and again, and one report of a dead secret, however often", async () => {
      const { as, admin } = claviger();
      const caller = await service(["claviger:verify"]);
      const dead = await service([]);
      await admin.keys.revokeKey({ keyId: dead.id });
      const before = await lastSequence();
      for (let turn = 0; turn < 10; turn++) {
        expect((await refusalOf(as(caller.secret).keys.listKeys({}))).reason).toBe("PERMISSION_DENIED");
        expect((await refusalOf(as(dead.secret).keys.listKeys({}))).reason).toBe("CREDENTIAL_INVALID");
        await as(undefined).keys.reportLeakedSecret({ secret: dead.secret, source: `page ${turn}` });
      }
      expect((await since(before)).map(({ action, actor }) => [action, actor?.keyId])).toEqual([
        ["call.denied", caller.id],
        ["call.denied", dead.id],
        ["secret.leak_reported", dead.id],
      ]);
    });

    it("has a key that goes on calling after its revocation", async () => {
      const caller = await service(["claviger:keys.write"]);
      await claviger().admin.keys.revokeKey({ keyId: caller.id });
      const before = await lastSequence();
      const call = claviger().as(caller.secret).keys.createKey({ owner: "x", displayName: "k" });
      expect((await refusalOf(call)).reason).toBe("CREDENTIAL_INVALID");
      expect(await denied(before)).toMatchObject([
        { actor: { keyId: caller.id }, details: { method: "CreateKey", reason: "CREDENTIAL_INVALID" } },
      ]);
    });

    it("has nothing of strangers, of verification, and of calls that failed otherwise", async () => {
      const { as, admin } = claviger();
      const caller = await service(["claviger:keys.write"]);
      const { id } = await makeKey(admin, { owner: "audit-otherwise" });
      const before = await lastSequence();
      for (const token of [undefined, "garbage", `clv_live_${"0".repeat(49)}`, "a.b.c"]) {
        expect((await refusalOf(as(token).keys.getKey({ keyId: id }))).code).toBe("Unauthenticated");
      }
      const verify = as(caller.secret).verifier.verify({ secret: "x" });
      expect((await refusalOf(verify)).reason).toBe("PERMISSION_DENIED");
      const invalid = admin.keys.createKey({ owner: "audit-otherwise" });
      expect((await refusalOf(invalid)).reason).toBe("INVALID_FIELD");
      expect(await since(before)).toEqual([]);
    });
  });

  it("gets nothing of a change that fails", async () => {
    const { admin } = claviger();
    const { id } = await makeKey(admin, { owner: "audit-fails" });
    await Promise.all(Array.from({ length: 9 }, () => makeKey(admin, { owner: "audit-fails" })));
    const other = await makeKey(admin, { owner: "audit-fails-revoked" });
    await admin.keys.revokeKey({ keyId: other.id });
    const before = await lastSequence();
    const update = { key: { id, displayName: "x", etag: "stale" }, updateMask: { paths: ["display_name"] } };
    const failures = [
      [() => admin.keys.updateKey(update), "ETAG_MISMATCH"],
      [() => admin.keys.rotateKey({ keyId: id, etag: "stale" }), "ETAG_MISMATCH"],
      [() => admin.keys.rotateKey({ keyId: other.id }), "KEY_REVOKED"],
      [() => admin.keys.retireSecret({ keyId: id, version: 9 }), "SECRET_VERSION_NOT_FOUND"],
      [() => admin.keys.createKey({ owner: "audit-fails", displayName: "k" }), "KEY_LIMIT_REACHED"],
    ] as const;
    for (const [call, reason] of failures) expect((await refusalOf(call())).reason).toBe(reason);
    expect(await since(before)).toEqual([]);
    expect(await actionsOf(id)).toEqual(["key.created"]);
  });

  describe("is listed", () => {
    it("by key, by owner, and by actor, which is a subject or a key", async () => {
      const { admin, as } = claviger();
      const caller = await service(["claviger:keys.write"]);
      const one = await makeKey(as(caller.secret), { owner: "list-one" });
      const two = await makeKey(admin, { owner: "list-two" });
      await admin.keys.revokeKey({ keyId: one.id });
      expect(await actionsOf(one.id)).toEqual(["key.created", "key.revoked"]);
      expect((await events({ owner: "list-two" })).map(({ keyId }) => keyId)).toEqual([two.id]);
      expect((await events({ actor: caller.id })).map(({ keyId }) => keyId)).toEqual([one.id]);
      expect((await events({ actor: caller.key.owner })).map(({ keyId }) => keyId)).toEqual([one.id]);
      expect(await events({ owner: "list-one", keyId: two.id })).toEqual([]);
    });

    it("by time, from the start on and before the end", async () => {
      const { id } = await makeKey(claviger().admin, { owner: "list-times" });
      const [event] = await events({ keyId: id });
      const at = timeOf(event?.time);
      const between = (start: number, end: number) =>
        events({ keyId: id, startTime: timestampFromMs(start), endTime: timestampFromMs(end) });
      expect(await between(at, at + 1)).toHaveLength(1);
      expect(await between(at - 1000, at)).toHaveLength(0);
      expect(await between(at + 1, at + 1000)).toHaveLength(0);
    });

    it("newest first in pages that leave nothing out, under a token for these filters alone", async () => {
      const { admin } = claviger();
      const { id: keyId } = await makeKey(admin, { owner: "list-pages" });
      const update = (name: string) =>
        admin.keys.updateKey({ key: { id: keyId, displayName: name }, updateMask: { paths: ["display_name"] } });
      for (const name of ["a", "b", "c", "d"]) await update(name);
      const sequences: bigint[] = [];
      let token = "";
      do {
        const page = await admin.keys.listAuditEvents({ keyId, pageSize: 2, pageToken: token });
        expect(page.events.length).toBeLessThanOrEqual(2);
        sequences.push(...page.events.map(({ sequence }) => sequence));
        token = page.nextPageToken;
        // What happens meanwhile does not shift the pages.
        await update("later");
      } while (token !== "");
      const [newest = 0n] = sequences;
      expect(sequences).toHaveLength(5);
      expect(sequences).toEqual(sequences.toSorted((a, b) => Number(b - a)));
      expect(newest).toBeGreaterThan(0n);

      const { nextPageToken } = await admin.keys.listAuditEvents({ keyId, pageSize: 2 });
      const flipped = nextPageToken.startsWith("A") ? `B${nextPageToken.slice(1)}` : `A${nextPageToken.slice(1)}`;
      const { nextPageToken: ofKeys } = await admin.keys.listKeys({ pageSize: 1 });
      const refused = [
        () => admin.keys.listAuditEvents({ keyId, pageToken: flipped }),
        () => admin.keys.listAuditEvents({ pageToken: nextPageToken }),
        () => admin.keys.listAuditEvents({ pageToken: ofKeys }),
        () => admin.keys.listKeys({ pageToken: nextPageToken }),
      ];
      for (const call of refused)
        expect(await refusalOf(call())).toMatchObject({ code: "InvalidArgument", reason: "PAGE_TOKEN_INVALID" });
    });

    it("to whom has claviger:audit.read, and to nobody else", async () => {
      const { as } = claviger();
      const reader = await service(["claviger:audit.read"]);
      expect((await as(reader.secret).keys.listAuditEvents({})).events.length).toBeGreaterThan(0);
      const other = await service(["claviger:keys.read", "claviger:keys.write", "claviger:keys.revoke", "*"]);
      const refusal = await refusalOf(as(other.secret).keys.listAuditEvents({}));
      expect(refusal).toMatchObject({ code: "PermissionDenied", metadata: { permission: "claviger:audit.read" } });
    });
  });

  it("counts without gaps, and each hash is SHA-256 over the hash before, the place and the event", async () => {
    const all = await events({});
    expect(all.length).toBeLessThan(1000);
    expect(all.map(({ sequence }) => Number(sequence))).toEqual(all.map((_, index) => index + 1));
    const rows = await claviger().storage.read((database) => walkChain(database, 0, 1000));
    let previous: Buffer = Buffer.alloc(32);
    const hashes = rows.map(({ sequence, signed }) => {
      const place = Buffer.alloc(8);
      place.writeBigUInt64BE(BigInt(sequence));
      const event = canonicalize({ ...signed?.event, time: signed?.event.time.toISOString() }) ?? "";
      previous = createHash("sha256").update(previous).update(place).update(event).digest();
      return previous.toString("hex");
    });
    expect(all.map(({ hash }) => Buffer.from(hash).toString("hex"))).toEqual(hashes.slice(0, all.length));
  });

  it("is in the order in which its events happened to one key", async () => {
    const { admin } = claviger();
    const { id: keyId } = await makeKey(admin, { owner: "audit-order" });
    await admin.keys.rotateKey({ keyId });
    await admin.keys.retireSecret({ keyId, version: 1 });
    await admin.keys.revokeKey({ keyId });
    const found = await events({ keyId });
    expect(found.map(({ action }) => action)).toEqual(["key.created", "key.rotated", "secret.retired", "key.revoked"]);
    const times = found.map((event: AuditEvent) => timeOf(event.time));
    expect(times).toEqual(times.toSorted((a, b) => a - b));
  });
});

function timeOf(time: Parameters<typeof timestampMs>[0] | undefined): number {
  if (time === undefined) throw new Error("there is no time");
  return timestampMs(time);
}
