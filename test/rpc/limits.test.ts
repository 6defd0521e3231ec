import { durationMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { Environment } from "#gen/claviger/v1/key_pb.js";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { startClaviger, type TestClaviger } from "../../testkit/claviger.ts";
import { describeWithPostgres, describeWithRedis } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { makeKey } from "./make-key.ts";

const PATIENT = JSON.stringify({ usage: { limiterTimeoutMs: 2000 } });

function limitsWith(name: string, start: () => Promise<TestClaviger>): void {
  describe(name, () => {
    let claviger: TestClaviger;
    beforeAll(async () => {
      claviger = await start();
    });
    afterAll(() => claviger?.close());
    const verdict = async (secret: string, cost?: number) =>
      (await claviger.admin.verifier.verify({ secret, ...(cost === undefined ? {} : { cost }) })).verdict;

    it("are shown with the key, and gone where they limit nothing", async () => {
      const { admin } = claviger;
      const limits = { requestsPerSecond: 5, burst: 10, requestsPerDay: 100 };
      const { id, key } = await makeKey(admin, { owner: "l1", limits });
      expect(key.limits).toMatchObject(limits);
      expect((await admin.keys.getKey({ keyId: id })).key?.limits).toMatchObject(limits);
      const cleared = await admin.keys.updateKey({ key: { id, limits: {} }, updateMask: { paths: ["limits"] } });
      expect(cleared.key?.limits).toBeUndefined();
      expect(cleared.receipt).toBeUndefined();
    });

    it("deny beyond a day's, say until when, and charge nothing for a denial", async () => {
      const { secret } = await makeKey(claviger.admin, { owner: "l2", limits: { requestsPerDay: 3 } });
      expect(await verdict(secret, 2)).toBe(Verdict.VALID);
      const denied = await claviger.admin.verifier.verify({ secret, cost: 2 });
      expect(denied.verdict).toBe(Verdict.QUOTA_EXHAUSTED);
      expect(denied.key?.owner).toBe("l2");
      const waitMs = denied.retryAfter === undefined ? 0 : durationMs(denied.retryAfter);
      expect(Math.abs(waitMs - (86_400_000 - (Date.now() % 86_400_000)))).toBeLessThan(5000);
      expect(await verdict(secret, 0)).toBe(Verdict.VALID);
      expect(await verdict(secret)).toBe(Verdict.VALID);
      expect(await verdict(secret, 0)).toBe(Verdict.QUOTA_EXHAUSTED);
    });

    it("deny beyond a rate, say when to ask again, and give it back", async () => {
      const { secret } = await makeKey(claviger.admin, { owner: "l3", limits: { requestsPerSecond: 20, burst: 2 } });
      const answer = await claviger.admin.verifier.batchVerify({ requests: [{ secret }, { secret }, { secret }] });
      expect(answer.responses.map((response) => response.verdict)).toEqual([
        ...[Verdict.VALID, Verdict.VALID, Verdict.RATE_LIMITED],
      ]);
      const { retryAfter } = answer.responses[2] ?? {};
      expect(retryAfter === undefined ? 0 : durationMs(retryAfter)).toBeLessThanOrEqual(50);
      await new Promise((done) => setTimeout(done, 60));
      expect(await verdict(secret)).toBe(Verdict.VALID);
    });

    it("are asked last: another denial comes first and charges nothing", async () => {
      const { secret } = await makeKey(claviger.admin, { owner: "l4", limits: { requestsPerDay: 1 } });
      const { verifier } = claviger.admin;
      expect((await verifier.verify({ secret, requiredScopes: ["a:b"] })).verdict).toBe(Verdict.SCOPE_MISSING);
      const trial = { secret, environment: Environment.TEST };
      expect((await verifier.verify(trial)).verdict).toBe(Verdict.ENVIRONMENT_DENIED);
      expect(await verdict(secret)).toBe(Verdict.VALID);
      expect((await verifier.verify({ secret, requiredScopes: ["a:b"] })).verdict).toBe(Verdict.SCOPE_MISSING);
      expect(await verdict(secret)).toBe(Verdict.QUOTA_EXHAUSTED);
    });

    it("that are lowered come with a receipt and hold at once; raised ones without", async () => {
      const { admin } = claviger;
      const { id, secret } = await makeKey(admin, { owner: "l5", limits: { requestsPerDay: 10 } });
      for (let i = 0; i < 3; i++) await verdict(secret);
      const set = (requestsPerDay: number) =>
        admin.keys.updateKey({ key: { id, limits: { requestsPerDay } }, updateMask: { paths: ["limits"] } });
      expect((await set(2)).receipt).toBeDefined();
      expect(await verdict(secret)).toBe(Verdict.QUOTA_EXHAUSTED);
      expect((await set(4)).receipt).toBeUndefined();
      // Nobody waits until what was given is known everywhere.
      await eventually(async () => expect(await verdict(secret)).toBe(Verdict.VALID));
      expect(await verdict(secret)).toBe(Verdict.QUOTA_EXHAUSTED);
    });

    it.each([
      [{ burst: 5 }, "limits.burst"],
      [{ requestsPerSecond: -1 }, "limits.requests_per_second"],
    ])("that make no sense are refused: %j", async (limits, field) => {
      const refusal = await refusalOf(makeKey(claviger.admin, { owner: "l6", limits }));
      expect(refusal).toMatchObject({ code: "InvalidArgument" });
      expect(refusal.fields).toEqual([field]);
    });
  });
}

limitsWith("limits, embedded", () => startClaviger("embedded"));
describeWithPostgres("limits", () => {
  describeWithRedis("on a cluster", () => {
    limitsWith("with Redis", () =>
      startClaviger("postgres", { REDIS_URL: inject("redis")?.url ?? "", CLAVIGER_POLICY: PATIENT }),
    );
  });

  it("are refused on Postgres without Redis, where nothing could count them, and a key keeps what it had", async () => {
    const claviger = await startClaviger("postgres");
    try {
      const limits = { requestsPerDay: 1 };
      const refused = { code: "FailedPrecondition", reason: "LIMITER_NOT_CONFIGURED" };
      expect(await refusalOf(makeKey(claviger.admin, { owner: "n", limits }))).toMatchObject(refused);
      const { id } = await makeKey(claviger.admin, { owner: "n" });
      const { keys } = claviger.admin;
      const update = (of: object) => keys.updateKey({ key: { id, ...of }, updateMask: { paths: ["limits"] } });
      expect(await refusalOf(update({ limits }))).toMatchObject(refused);
      expect((await update({})).key?.limits).toBeUndefined();
    } finally {
      await claviger.close();
    }
  });
});
