import { type Timestamp, timestampDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { UsageDimension, UsageStep } from "#gen/claviger/v1/usage_pb.js";
import { describeOnEachStorage } from "../../testkit/claviger.ts";
import { eventually } from "../../testkit/eventually.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { makeKey, UNKNOWN_KEY_ID } from "./make-key.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const METHOD = "/orders.v1.Orders/Place";
/** Every flush and fold at once, so that no test waits. */
const QUICK = { CLAVIGER_POLICY: JSON.stringify({ usage: { flushMs: 20, foldMs: 50, points: 200 } }) };

describeOnEachStorage(
  "QueryUsage",
  (claviger) => {
    const span = () => {
      const nowMs = Date.now();
      return { startTime: timestampFromMs(nowMs - HOUR_MS), endTime: timestampFromMs(nowMs + HOUR_MS) };
    };
    const query = (request: Parameters<ReturnType<typeof claviger>["admin"]["keys"]["queryUsage"]>[0]) =>
      claviger().admin.keys.queryUsage({ ...span(), ...request });
    const totalOf = async (keyId: string) => Number((await query({ keyId })).total);

    it("counts every verdict of a key, the valid ones and the denials, by verdict, method and secret version", async () => {
      const { admin } = claviger();
      const { id: keyId, secret } = await makeKey(admin, { owner: "u1", scopes: ["a:b"] });
      for (let i = 0; i < 3; i++) await admin.verifier.verify({ secret, method: METHOD });
      await admin.verifier.verify({ secret, requiredScopes: ["c:d"] });
      const rotated = await admin.keys.rotateKey({ keyId });
      await admin.verifier.batchVerify({ requests: [{ secret: rotated.secret }, { secret, method: METHOD }] });
      await admin.keys.revokeKey({ keyId });
      await admin.verifier.verify({ secret });
      await eventually(async () => expect(await totalOf(keyId)).toBe(7));

      const by = async (...groupBy: UsageDimension[]) => {
        const { points } = await query({ keyId, groupBy, step: UsageStep.DAY });
        const sums = new Map<string, number>();
        for (const { group, count } of points) {
          const name = Object.values(group).join(" ");
          sums.set(name, (sums.get(name) ?? 0) + Number(count));
        }
        return Object.fromEntries(sums);
      };
      expect(await by(UsageDimension.VERDICT)).toEqual({
        ...{ VERDICT_VALID: 5, VERDICT_SCOPE_MISSING: 1, VERDICT_REVOKED: 1 },
      });
      expect(await by(UsageDimension.METHOD)).toEqual({ [METHOD]: 4, "": 3 });
      expect(await by(UsageDimension.SECRET_VERSION)).toEqual({ 1: 6, 2: 1 });
      expect(await by(UsageDimension.KEY)).toEqual({ [keyId]: 7 });
    });

    it("counts what was nobody's secret with the key of whoever asked", async () => {
      const { admin, as } = claviger();
      const caller = await makeKey(admin, { owner: "asker", scopes: ["claviger:verify"] });
      const asked = await as(caller.secret).verifier.verify({ secret: "nonsense", method: METHOD });
      expect(asked.verdict).toBe(Verdict.MALFORMED);
      const groupBy = [UsageDimension.VERDICT, UsageDimension.METHOD, UsageDimension.KEY];
      const found = async (about: { keyId: string } | { owner: string }) => {
        const { points } = await query({ ...about, groupBy, step: UsageStep.DAY });
        return points.filter(({ count }) => count > 0n).map(({ group, count }) => ({ ...group, count }));
      };
      const expected = [
        { verdict: "VERDICT_MALFORMED", method: METHOD, key: "", count: 1n },
        // The caller's own key, which was used to ask.
        { verdict: "VERDICT_VALID", method: "/claviger.v1.KeyVerifier/Verify", key: caller.id, count: 1n },
      ];
      await eventually(async () => expect(await found({ keyId: caller.id })).toEqual(expected));
      expect(await found({ owner: "asker" })).toEqual(expected);
    });

    it("answers with a point per step, zeros filled in, and the sum of all", async () => {
      const { admin } = claviger();
      const { id: keyId, secret } = await makeKey(admin, { owner: "u2" });
      await admin.verifier.verify({ secret });
      await eventually(async () => expect(await totalOf(keyId)).toBe(1));
      const nowMs = Date.now();
      const start = Math.floor(nowMs / DAY_MS) * DAY_MS - 2 * DAY_MS;
      const days = await query({
        ...{ keyId, step: UsageStep.DAY },
        ...{ startTime: timestampFromMs(start + 1), endTime: timestampFromMs(start + 3 * DAY_MS) },
      });
      const at = (time: Timestamp | undefined) => (time === undefined ? 0 : timestampDate(time).getTime() - start);
      expect(days.points.map(({ startTime, count }) => [at(startTime), count])).toEqual([
        [0, 0n],
        [DAY_MS, 0n],
        [2 * DAY_MS, 1n],
      ]);
      expect(days.total).toBe(1n);
      const minutes = await query({
        ...{ keyId, step: UsageStep.MINUTE },
        ...{ startTime: timestampFromMs(nowMs - HOUR_MS), endTime: timestampFromMs(nowMs + HOUR_MS / 60) },
      });
      expect(minutes.total).toBe(1n);
      expect(minutes.points.length).toBeGreaterThanOrEqual(61);
    });

    it("tells when a key and its secrets were last valid, and which keys were not since", async () => {
      const { admin } = claviger();
      const [used, unused] = [await makeKey(admin, { owner: "u3" }), await makeKey(admin, { owner: "u3" })];
      await new Promise((done) => setTimeout(done, 5));
      const since = Date.now();
      const [beforeUse, { keys: none }] = await Promise.all([
        admin.keys.getKey({ keyId: used.id }),
        admin.keys.listKeys({ owner: "u3", unusedSince: timestampFromMs(used.key.createTime ? since - DAY_MS : 0) }),
      ]);
      expect(beforeUse.key?.lastUsedTime).toBeUndefined();
      expect(none).toEqual([]);
      await admin.verifier.verify({ secret: used.secret });
      await eventually(async () => {
        const { key } = await admin.keys.getKey({ keyId: used.id });
        expect(key?.lastUsedTime).toBeDefined();
        expect(key?.secrets[0]?.lastUsedTime).toEqual(key?.lastUsedTime);
        const lastMs = key?.lastUsedTime === undefined ? 0 : timestampDate(key.lastUsedTime).getTime();
        expect(Math.abs(lastMs - since)).toBeLessThan(10_000);
      });
      // A last use is known to the second.
      const { keys } = await admin.keys.listKeys({ owner: "u3", unusedSince: timestampFromMs(since - 1000) });
      expect(keys).toEqual([]);
      await eventually(async () => {
        const later = await admin.keys.listKeys({ owner: "u3", unusedSince: timestampFromMs(Date.now()) });
        expect(later.keys.map(({ id }) => id)).toContain(unused.id);
      });
    });

    it("refuses what is not kept any more, what is too much, and what makes no sense", async () => {
      const { keys } = claviger().admin;
      const nowMs = Date.now();
      const ask = (startMs: number, endMs: number, more = {}) =>
        refusalOf(keys.queryUsage({ startTime: timestampFromMs(startMs), endTime: timestampFromMs(endMs), ...more }));
      expect(await ask(nowMs - 8 * DAY_MS, nowMs - 8 * DAY_MS + 1, { step: UsageStep.MINUTE })).toMatchObject({
        ...{ code: "InvalidArgument", fields: ["start_time"] },
      });
      expect(await ask(nowMs - 400 * DAY_MS, nowMs, { step: UsageStep.DAY })).toMatchObject({ fields: ["step"] });
      expect(await ask(nowMs - 400 * DAY_MS, nowMs - 399 * DAY_MS)).toMatchObject({ fields: ["start_time"] });
      expect(await ask(nowMs - 9 * DAY_MS, nowMs)).toMatchObject({ code: "InvalidArgument", fields: ["step"] });
      // Each of the two is little; together they are not.
      const many = await makeKey(claviger().admin, { owner: "many" });
      for (let i = 0; i < 20; i++) await claviger().admin.verifier.verify({ secret: many.secret, method: `/a.B/${i}` });
      const groupBy = [UsageDimension.METHOD];
      await eventually(async () =>
        expect(await ask(nowMs - 100 * HOUR_MS, nowMs + HOUR_MS, { keyId: many.id, groupBy })).toMatchObject({
          fields: ["step"],
        }),
      );
      expect(await ask(nowMs, nowMs - 1)).toMatchObject({ code: "InvalidArgument" });
      expect(await ask(nowMs, nowMs + 1, { keyId: UNKNOWN_KEY_ID, owner: "u" })).toMatchObject({
        code: "InvalidArgument",
      });
    });

    it("answers about the last hour that a timestamp can hold", async () => {
      const endTime = { seconds: 253_402_300_799n, nanos: 999_999_999 };
      const startTime = { seconds: endTime.seconds - 60n, nanos: 0 };
      for (const step of [UsageStep.MINUTE, UsageStep.HOUR, UsageStep.DAY]) {
        expect((await claviger().admin.keys.queryUsage({ startTime, endTime, step })).total).toBe(0n);
      }
    });

    it("is zero for a key that nobody has, as for one that nobody used", async () => {
      expect((await query({ keyId: UNKNOWN_KEY_ID })).total).toBe(0n);
    });

    it("needs claviger:usage.read", async () => {
      const { admin, as } = claviger();
      const reader = await makeKey(admin, { owner: "r", scopes: ["claviger:usage.read"] });
      const other = await makeKey(admin, { owner: "r", scopes: ["claviger:keys.read"] });
      await as(reader.secret).keys.queryUsage(span());
      expect(await refusalOf(as(other.secret).keys.queryUsage(span()))).toMatchObject({ code: "PermissionDenied" });
    });
  },
  QUICK,
);
