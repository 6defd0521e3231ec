import { expect, it } from "vitest";
import { describeOnEachStorage } from "../../testkit/claviger.ts";
import { eventually } from "../../testkit/eventually.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { ageKey } from "./age-key.ts";
import { makeKey } from "./make-key.ts";
import { verdictOf } from "./verdict-of.ts";

const DAY_MS = 86_400_000;
/** 13 months. */
const RETENTION_DAYS = 396;
const TERM_DAYS = 90;

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

    it("revoked keys of canaries go after an hour; other revoked keys with their label stay", async () => {
      const { admin, storage } = claviger();
      const labels = { canary: "true" };
      const canary = await makeKey(admin, { owner: "claviger-canary", labels });
      const other = await makeKey(admin, { owner: "retention-canary", labels });
      const unlabelled = await makeKey(admin, { owner: "claviger-canary" });
      const live = await makeKey(admin, { owner: "claviger-canary", labels });
      for (const { id } of [canary, other, unlabelled]) await admin.keys.revokeKey({ keyId: id });
      for (const { id } of [canary, other, unlabelled, live]) await ageKey(storage, id, DAY_MS / 12);
      await eventually(async () => {
        expect(await refusalOf(admin.keys.getKey({ keyId: canary.id }))).toMatchObject({ reason: "KEY_NOT_FOUND" });
      });
      for (const { id } of [other, unlabelled, live]) expect((await admin.keys.getKey({ keyId: id })).key?.id).toBe(id);
    });
  },
  { CLAVIGER_POLICY: '{"manage": {"forgetEveryMs": 100}}' },
);
