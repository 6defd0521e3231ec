import { randomUUID } from "node:crypto";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { eq, sql } from "drizzle-orm";
import { describe, expect, it } from "vitest";
import { SecretState } from "#gen/claviger/v1/key_pb.js";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { doneRequest } from "../../src/postgres/schema.ts";
import { describeOnEachStorage, type TestClaviger } from "../../testkit/claviger.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { makeKey } from "./make-key.ts";

const HOUR_MS = 3_600_000;

describeOnEachStorage("request_id", (claviger) => {
  const keysOf = async (owner: string) => (await claviger().admin.keys.listKeys({ owner })).keys;
  const versionsOf = async (keyId: string) => (await claviger().admin.keys.getKey({ keyId })).key?.secrets ?? [];

  describe("of CreateKey", () => {
    it("makes a retry answer with the key and version that the first made, and makes no second key", async () => {
      const { keys } = claviger().admin;
      const request = { owner: "once", displayName: "k", scopes: ["a:b"], labels: { a: "1" }, requestId: randomUUID() };
      const { key } = await keys.createKey(request);
      for (let retry = 0; retry < 2; retry++) {
        const refusal = await refusalOf(keys.createKey(request));
        expect(refusal).toMatchObject({
          code: "AlreadyExists",
          reason: "REQUEST_ALREADY_DONE",
          metadata: { request_id: request.requestId, key_id: key?.id, version: "1" },
        });
        expect(refusal.message).toContain("grace_period 0");
      }
      expect((await keysOf("once")).map(({ id }) => id)).toEqual([key?.id]);
    });

    it("is the same in upper and lower case", async () => {
      const { keys } = claviger().admin;
      const requestId = randomUUID();
      const request = { owner: "case", displayName: "k" };
      await keys.createKey({ ...request, requestId: requestId.toUpperCase() });
      const refusal = await refusalOf(keys.createKey({ ...request, requestId }));
      expect(refusal.reason).toBe("REQUEST_ALREADY_DONE");
    });

    it.each([
      ["another owner", { owner: "reused-2" }],
      ["another name", { displayName: "other" }],
      ["other scopes", { scopes: ["a:b"] }],
      ["other labels", { labels: { a: "1" } }],
      ["other metadata", { metadata: { a: 1 } }],
      ["another term", { ttl: durationFromMs(HOUR_MS) }],
    ])("is refused with %s", async (_what, change) => {
      const { keys } = claviger().admin;
      const owner = `reused-${randomUUID()}`;
      const request = { owner, displayName: "k", requestId: randomUUID() };
      const { key } = await keys.createKey(request);
      expect(await refusalOf(keys.createKey({ ...request, ...change }))).toMatchObject({
        code: "InvalidArgument",
        reason: "REQUEST_ID_REUSED",
        metadata: { request_id: request.requestId },
      });
      expect((await keysOf(owner)).map(({ id }) => id)).toEqual([key?.id]);
      expect(await keysOf("reused-2")).toEqual([]);
    });

    it("is independent between callers", async () => {
      const { admin, as } = claviger();
      const request = { owner: "callers", displayName: "k", requestId: randomUUID() };
      const made = await Promise.all(
        ["one", "two"].map(async (name) => {
          const { secret } = await makeKey(admin, { owner: `callers-${name}`, scopes: ["claviger:keys.write"] });
          return (await as(secret).keys.createKey(request)).key?.id;
        }),
      );
      made.push((await admin.keys.createKey(request)).key?.id);
      expect(new Set(made).size).toBe(3);
    });

    it("belongs to the calling key through its rotation", async () => {
      const { admin, as } = claviger();
      const caller = await makeKey(admin, { owner: "callers-rotated", scopes: ["claviger:keys.write"] });
      const request = { owner: "callers-rotated", displayName: "k", requestId: randomUUID() };
      await as(caller.secret).keys.createKey(request);
      const { secret } = await admin.keys.rotateKey({ keyId: caller.id });
      const refusal = await refusalOf(as(secret).keys.createKey(request));
      expect(refusal.reason).toBe("REQUEST_ALREADY_DONE");
    });

    it.each(["x", "0", randomUUID().slice(1), `${randomUUID()} `, "{0198f7a0-1c5e-7c3a-9f00-5a1e0c3b2d11}"])(
      "is refused when it is no UUID: %s",
      async (requestId) => {
        const { keys } = claviger().admin;
        const refusal = await refusalOf(keys.createKey({ owner: "no-uuid", displayName: "k", requestId }));
        expect(refusal).toMatchObject({ code: "InvalidArgument", reason: "INVALID_FIELD", fields: ["request_id"] });
        expect(await keysOf("no-uuid")).toEqual([]);
      },
    );

    it("stays free when the call fails, and still answers at the maximum of keys once it was used", async () => {
      const { keys } = claviger().admin;
      const request = { owner: "full", displayName: "k", requestId: randomUUID() };
      const others = await Promise.all(Array.from({ length: 10 }, () => keys.createKey({ ...request, requestId: "" })));
      expect((await refusalOf(keys.createKey(request))).reason).toBe("KEY_LIMIT_REACHED");
      await keys.revokeKey({ keyId: others[0]?.key?.id ?? "" });
      const { key } = await keys.createKey(request);
      expect(await refusalOf(keys.createKey(request))).toMatchObject({
        reason: "REQUEST_ALREADY_DONE",
        metadata: { key_id: key?.id },
      });
    });

    it("is free again after 24 hours, and not before", async () => {
      const { keys } = claviger().admin;
      const request = { owner: "day", displayName: "k", requestId: randomUUID() };
      const { key: first } = await keys.createKey(request);
      await age(claviger(), request.requestId, 24 * HOUR_MS - 60_000);
      expect((await refusalOf(keys.createKey(request))).metadata.key_id).toBe(first?.id);
      await age(claviger(), request.requestId, 60_001);
      const { key: second } = await keys.createKey(request);
      expect(second?.id).not.toBe(first?.id);
      expect((await refusalOf(keys.createKey(request))).metadata.key_id).toBe(second?.id);
    });
  });

  describe("of RotateKey", () => {
    it("makes a retry answer with the version that the first made, and makes no second version", async () => {
      const { admin } = claviger();
      const { id: keyId } = await makeKey(admin, { owner: "rotate-once" });
      const request = { keyId, requestId: randomUUID() };
      await admin.keys.rotateKey(request);
      expect(await refusalOf(admin.keys.rotateKey(request))).toMatchObject({
        code: "AlreadyExists",
        reason: "REQUEST_ALREADY_DONE",
        metadata: { request_id: request.requestId, key_id: keyId, version: "2" },
      });
      expect((await versionsOf(keyId)).map(({ version }) => version)).toEqual([2, 1]);
    });

    it("answers a retry with the first's version though the key has been rotated or revoked since", async () => {
      const { admin } = claviger();
      const { id: keyId } = await makeKey(admin, { owner: "rotate-since" });
      const request = { keyId, requestId: randomUUID() };
      await admin.keys.rotateKey(request);
      await admin.keys.rotateKey({ keyId });
      expect((await refusalOf(admin.keys.rotateKey(request))).metadata.version).toBe("2");
      await admin.keys.revokeKey({ keyId });
      expect((await refusalOf(admin.keys.rotateKey(request))).metadata.version).toBe("2");
    });

    it.each([
      ["another grace", { gracePeriod: durationFromMs(HOUR_MS) }],
      ["another term", { ttl: durationFromMs(HOUR_MS) }],
      ["an etag", { etag: "x" }],
    ])("is refused with %s", async (_what, change) => {
      const { admin } = claviger();
      const { id: keyId } = await makeKey(admin, { owner: "rotate-reused" });
      const request = { keyId, requestId: randomUUID() };
      await admin.keys.rotateKey(request);
      expect(await refusalOf(admin.keys.rotateKey({ ...request, ...change }))).toMatchObject({
        code: "InvalidArgument",
        reason: "REQUEST_ID_REUSED",
      });
      expect(await versionsOf(keyId)).toHaveLength(2);
    });

    it("is refused for another key", async () => {
      const { admin } = claviger();
      const [one, two] = [await makeKey(admin, { owner: "rotate-two" }), await makeKey(admin, { owner: "rotate-two" })];
      const requestId = randomUUID();
      await admin.keys.rotateKey({ keyId: one.id, requestId });
      const refusal = await refusalOf(admin.keys.rotateKey({ keyId: two.id, requestId }));
      expect(refusal.reason).toBe("REQUEST_ID_REUSED");
      expect(await versionsOf(two.id)).toHaveLength(1);
    });

    it("is independent of the same id of CreateKey", async () => {
      const { keys } = claviger().admin;
      const requestId = randomUUID();
      const { key } = await keys.createKey({ owner: "methods", displayName: "k", requestId });
      const rotated = await keys.rotateKey({ keyId: key?.id ?? "", requestId });
      expect(rotated.key?.secrets).toHaveLength(2);
    });

    it("is refused when it is no UUID", async () => {
      const { admin } = claviger();
      const { id: keyId } = await makeKey(admin, { owner: "rotate-no-uuid" });
      const refusal = await refusalOf(admin.keys.rotateKey({ keyId, requestId: "again" }));
      expect(refusal).toMatchObject({ code: "InvalidArgument", fields: ["request_id"] });
    });

    it("stays free when the call fails for its etag", async () => {
      const { admin } = claviger();
      const { id: keyId, key } = await makeKey(admin, { owner: "rotate-etag" });
      const requestId = randomUUID();
      const refusal = await refusalOf(admin.keys.rotateKey({ keyId, requestId, etag: "stale" }));
      expect(refusal.reason).toBe("ETAG_MISMATCH");
      const rotated = await admin.keys.rotateKey({ keyId, requestId, etag: key.etag });
      expect(rotated.key?.secrets[0]?.version).toBe(2);
    });
  });

  it("a lost first answer is made good by rotating with grace 0, and the lost secret is dead", async () => {
    const { admin } = claviger();
    const request = { owner: "lost", displayName: "k", requestId: randomUUID() };
    const { secret: lost } = await admin.keys.createKey(request);
    const { metadata } = await refusalOf(admin.keys.createKey(request));
    const { secret, key } = await admin.keys.rotateKey({ keyId: metadata.key_id ?? "", gracePeriod: {} });
    expect(key?.secrets.map(({ state }) => state)).toEqual([SecretState.CURRENT, SecretState.RETIRED]);
    expect((await admin.verifier.verify({ secret: lost })).verdict).toBe(Verdict.RETIRED);
    expect((await admin.verifier.verify({ secret })).verdict).toBe(Verdict.VALID);
    expect(await keysOf("lost")).toHaveLength(1);
  });
});

/** Moves the date of a done request; as the owner of the table, since the service may not. */
async function age({ storage }: TestClaviger, requestId: string, ms: number): Promise<void> {
  await storage.transaction(async (transaction) => {
    await transaction.execute(sql`set local role none`);
    const aged = await transaction
      .update(doneRequest)
      .set({ expireTime: sql`${doneRequest.expireTime} - ${ms}::double precision * interval '1 millisecond'` })
      .where(eq(doneRequest.requestId, requestId))
      .returning({ id: doneRequest.requestId });
    expect(aged).toHaveLength(1);
  });
}
