import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import { Environment, KeyState, SecretState } from "#gen/claviger/v1/key_pb.js";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { describeOnEachStorage } from "../support/claviger.ts";
import { refusalOf } from "../support/refusal.ts";

const DAY_MS = 86_400_000;

describeOnEachStorage("CreateKey", (claviger) => {
  it("shows a secret that verifies, and stores what was asked for", async () => {
    const { admin } = claviger();
    const asked = {
      owner: "create-all",
      displayName: "Robot №1",
      environment: Environment.TEST,
      scopes: ["orders:read", "billing:*"],
      labels: { team: "blue" },
      metadata: { plan: "pro", limits: [1, 2.5, null, true] },
      allowedCidrs: ["10.0.0.0/8", "2001:db8::/32"],
      ttl: durationFromMs(DAY_MS),
    };
    const { key, secret } = await admin.keys.createKey(asked);
    expect(key).toMatchObject({
      owner: "create-all",
      displayName: "Robot №1",
      environment: Environment.TEST,
      scopes: asked.scopes,
      labels: asked.labels,
      metadata: asked.metadata,
      allowedCidrs: asked.allowedCidrs,
      state: KeyState.ACTIVE,
      disabled: false,
      secrets: [{ version: 1, state: SecretState.CURRENT, hint: `clv_test_…${secret.slice(-4)}` }],
    });
    expect(key?.id).toMatch(/^key_[0-7][0-9a-hjkmnp-tv-z]{25}$/);
    expect(secret).toMatch(/^clv_test_[0-9A-Za-z]{49}$/);
    const term = Number(key?.expireTime?.seconds) - Number(key?.createTime?.seconds);
    expect(term).toBe(DAY_MS / 1000);
    const verified = await admin.verifier.verify({ secret, clientIp: "10.1.2.3", requiredScopes: ["billing:read"] });
    expect(verified.verdict).toBe(Verdict.VALID);
    expect(verified.key).toMatchObject({
      id: key?.id,
      owner: "create-all",
      metadata: asked.metadata,
      secretVersion: 1,
    });
    expect((await admin.keys.getKey({ keyId: key?.id ?? "" })).key).toEqual(key);
  });

  it("gives a key 90 days when no term is asked for, and refuses more", async () => {
    const { admin } = claviger();
    const { key } = await admin.keys.createKey({ owner: "create-term", displayName: "k" });
    expect(Number(key?.expireTime?.seconds) - Number(key?.createTime?.seconds)).toBe((90 * DAY_MS) / 1000);
    const over = admin.keys.createKey({ owner: "create-term", displayName: "k", ttl: durationFromMs(90 * DAY_MS + 1) });
    expect(await refusalOf(over)).toMatchObject({ code: "InvalidArgument", reason: "INVALID_FIELD", fields: ["ttl"] });
    const under = admin.keys.createKey({ owner: "create-term", displayName: "k", ttl: durationFromMs(999) });
    expect(await refusalOf(under)).toMatchObject({ code: "InvalidArgument", reason: "INVALID_FIELD", fields: ["ttl"] });
  });

  it("refuses an eleventh live key of one owner, and takes it once one is revoked", async () => {
    const { admin } = claviger();
    const create = () => admin.keys.createKey({ owner: "create-eleven", displayName: "k" });
    const keys = [];
    for (let i = 0; i < 10; i++) keys.push(await create());
    expect(await refusalOf(create())).toMatchObject({
      code: "ResourceExhausted",
      reason: "KEY_LIMIT_REACHED",
      domain: "claviger",
      hasQuotaFailure: true,
      metadata: { owner: "create-eleven", limit: "10" },
    });
    await admin.keys.revokeKey({ keyId: keys[0]?.key?.id ?? "" });
    expect((await create()).key?.state).toBe(KeyState.ACTIVE);
  });
});
