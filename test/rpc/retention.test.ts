import { eq } from "drizzle-orm";
import { expect, it } from "vitest";
import { apiKey } from "../../src/postgres/schema.ts";
import type { Storage } from "../../src/postgres/storage.ts";
import { describeOnEachStorage } from "../../testkit/claviger.ts";
import { eventually } from "../../testkit/eventually.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { ageKey } from "./age-key.ts";
import { makeKey } from "./make-key.ts";
import { verdictOf } from "./verdict-of.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
/** 13 months. */
const RETENTION_DAYS = 396;
const TERM_DAYS = 90;

/** Whether the row says that every verifier obeys the key's revocation, which is written after the answer. */
async function isSettled(storage: Storage, keyId: string): Promise<boolean> {
  const { settledRevision, narrowedRevision } = apiKey;
  const [row] = await storage.read((database) =>
    database.select({ settledRevision, narrowedRevision }).from(apiKey).where(eq(apiKey.id, keyId)),
  );
  return row !== undefined && row.settledRevision >= row.narrowedRevision;
}

describeOnEachStorage(
  "Retention",
  (claviger) => {
    it("revoked and expired keys are readable for 13 months, then gone, and their secrets UNKNOWN", async () => {
      const { admin, storage } = claviger();
      const owner = "retention";
      const make = () => makeKey(admin, { owner });
      const [revoked, lately, expired, justExpired, live] = [
        await make(),
        await make(),
        await make(),
        await make(),
        await make(),
      ];
      for (const { id } of [revoked, lately]) await admin.keys.revokeKey({ keyId: id });
      await ageKey(storage, lately.id, (RETENTION_DAYS - 1) * DAY_MS);
      await ageKey(storage, justExpired.id, (RETENTION_DAYS + TERM_DAYS - 1) * DAY_MS);
      await ageKey(storage, expired.id, (RETENTION_DAYS + TERM_DAYS) * DAY_MS);
      await ageKey(storage, revoked.id, RETENTION_DAYS * DAY_MS);
      for (const { id, secret } of [revoked, expired]) {
        await eventually(async () => {
          expect(await refusalOf(admin.keys.getKey({ keyId: id }))).toMatchObject({ reason: "KEY_NOT_FOUND" });
        });
        expect(await verdictOf(admin, secret)).toBe("UNKNOWN");
      }
      const { keys } = await admin.keys.listKeys({ owner });
      expect(keys.map(({ id }) => id)).toEqual([live.id, justExpired.id, lately.id]);
      expect(await verdictOf(admin, justExpired.secret)).toBe("EXPIRED");
    });

    it("keys of canaries go five minutes after no node accepts them; other revoked keys with their label stay", async () => {
      const { admin, storage } = claviger();
      const labels = { canary: "true" };
      const make = (owner = "claviger-canary", label = labels) => makeKey(admin, { owner, labels: label });
      const [canary, recent, other, unlabelled, live] = [
        await make(),
        await make(),
        await make("retention-canary"),
        await make("claviger-canary", {} as typeof labels),
        await make(),
      ];
      for (const { id } of [canary, recent, other, unlabelled]) await admin.keys.revokeKey({ keyId: id });
      for (const { id } of [canary, recent])
        await eventually(async () => expect(await isSettled(storage, id)).toBe(true));
      await ageKey(storage, recent.id, 4 * MINUTE_MS);
      for (const { id } of [other, unlabelled, live]) await ageKey(storage, id, 2 * HOUR_MS);
      await ageKey(storage, canary.id, 6 * MINUTE_MS);
      await eventually(async () => {
        expect(await refusalOf(admin.keys.getKey({ keyId: canary.id }))).toMatchObject({ reason: "KEY_NOT_FOUND" });
      });
      for (const { id } of [recent, other, unlabelled, live]) {
        expect((await admin.keys.getKey({ keyId: id })).key?.id).toBe(id);
      }
      expect(await verdictOf(admin, canary.secret)).toBe("UNKNOWN");
      const { events } = await admin.keys.listAuditEvents({ keyId: canary.id });
      expect(events.map(({ action }) => action)).toEqual(["key.revoked", "key.created"]);
    });

    it("a canary's key that is revoked and not known to be obeyed, or never revoked, goes an hour after its end", async () => {
      const { admin, storage } = claviger();
      const make = () => makeKey(admin, { owner: "claviger-canary", labels: { canary: "true" } });
      const [unsettled, longUnsettled, expired] = [await make(), await make(), await make()];
      for (const { id } of [unsettled, longUnsettled]) {
        await admin.keys.revokeKey({ keyId: id });
        await eventually(async () => expect(await isSettled(storage, id)).toBe(true));
        await storage.write((database) => database.update(apiKey).set({ settledRevision: 0 }).where(eq(apiKey.id, id)));
      }
      await ageKey(storage, unsettled.id, 59 * MINUTE_MS);
      await ageKey(storage, longUnsettled.id, 61 * MINUTE_MS);
      await ageKey(storage, expired.id, TERM_DAYS * DAY_MS + 61 * MINUTE_MS);
      for (const { id } of [longUnsettled, expired]) {
        await eventually(async () => {
          expect(await refusalOf(admin.keys.getKey({ keyId: id }))).toMatchObject({ reason: "KEY_NOT_FOUND" });
        });
      }
      expect((await admin.keys.getKey({ keyId: unsettled.id })).key?.id).toBe(unsettled.id);
    });
  },
  { CLAVIGER_POLICY: '{"manage": {"forgetEveryMs": 100}, "revocation": {"trimEveryMs": 100}}' },
);
