import { durationFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { eq } from "drizzle-orm";
import { describe, expect, it } from "vitest";
import { Environment } from "#gen/claviger/v1/key_pb.js";
import { Freshness, Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { apiKey } from "../../src/postgres/schema.ts";
import { describeOnEachStorage } from "../../testkit/claviger.ts";
import { eventually } from "../../testkit/eventually.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { ageKey } from "./age-key.ts";
import { forge, mistype } from "./forge.ts";
import { makeKey } from "./make-key.ts";
import { verdictOf } from "./verdict-of.ts";

const DAY_MS = 86_400_000;

describeOnEachStorage("Verify", (claviger) => {
  it("answers VALID with the key and what is known of the secret", async () => {
    const { admin } = claviger();
    const made = await makeKey(admin, {
      owner: "verify-valid",
      displayName: "Robot",
      environment: Environment.TEST,
      scopes: ["orders:*"],
      labels: { team: "blue" },
      metadata: { plan: "pro" },
    });
    const answer = await admin.verifier.verify({ secret: made.secret, requiredScopes: ["orders:read"] });
    expect(answer).toMatchObject({
      verdict: Verdict.VALID,
      key: {
        id: made.id,
        owner: "verify-valid",
        displayName: "Robot",
        environment: Environment.TEST,
        scopes: ["orders:*"],
        labels: { team: "blue" },
        metadata: { plan: "pro" },
        secretVersion: 1,
      },
      secretExpireTime: made.key.expireTime,
      missingScopes: [],
      freshness: Freshness.AUTHORITATIVE,
    });
    expect(answer.retireTime).toBeUndefined();
    expect(answer.retryAfter).toBeUndefined();
  });

  it("takes a secret with the prefix of RFC 8959 for the same secret", async () => {
    const { admin } = claviger();
    const { secret } = await makeKey(admin, { owner: "verify-rfc8959" });
    expect(await verdictOf(admin, `secret-token:${secret}`)).toBe("VALID");
  });

  it("answers MALFORMED to what cannot be a secret, without a key", async () => {
    const { admin } = claviger();
    const { secret } = await makeKey(admin, { owner: "verify-malformed" });
    const texts = ["", "x", mistype(secret), ` ${secret}`, secret.toUpperCase(), "é".repeat(58), "x".repeat(4096)];
    for (const text of texts) {
      const answer = await admin.verifier.verify({ secret: text });
      expect(answer).toMatchObject({
        verdict: Verdict.MALFORMED,
        freshness: Freshness.AUTHORITATIVE,
        revision: 0n,
      });
      expect(answer.key).toBeUndefined();
    }
  });

  it("answers UNKNOWN to a forged secret, without a key", async () => {
    const { admin } = claviger();
    const { secret } = await makeKey(admin, { owner: "verify-forged" });
    const answer = await admin.verifier.verify({ secret: forge(secret) });
    expect(answer).toMatchObject({ verdict: Verdict.UNKNOWN, freshness: Freshness.AUTHORITATIVE });
    expect(answer.key).toBeUndefined();
  });

  it("answers UNKNOWN to a genuine secret whose key has been forgotten", async () => {
    const { admin, storage } = claviger();
    const { id, secret } = await makeKey(admin, { owner: "verify-forgotten" });
    await storage.read((database) => database.delete(apiKey).where(eq(apiKey.id, id)));
    expect(await verdictOf(admin, secret)).toBe("UNKNOWN");
  });

  it("answers REVOKED as soon as RevokeKey has returned", async () => {
    const { admin } = claviger();
    const { id, secret } = await makeKey(admin, { owner: "verify-revoked" });
    const { receipt } = await admin.keys.revokeKey({ keyId: id });
    const answer = await admin.verifier.verify({ secret });
    expect(answer).toMatchObject({ verdict: Verdict.REVOKED, key: { id, secretVersion: 1 } });
    expect(answer.revision).toBeGreaterThanOrEqual(receipt?.revision ?? 1n);
  });

  it("answers DISABLED while the key is disabled, and VALID again afterwards", async () => {
    const { admin } = claviger();
    const { id, secret } = await makeKey(admin, { owner: "verify-disabled" });
    const setDisabled = (disabled: boolean) =>
      admin.keys.updateKey({ key: { id, disabled }, updateMask: { paths: ["disabled"] } });
    await setDisabled(true);
    expect(await admin.verifier.verify({ secret })).toMatchObject({ verdict: Verdict.DISABLED, key: { id } });
    await setDisabled(false);
    expect(await verdictOf(admin, secret)).toBe("VALID");
  });

  it("answers RETIRED to a secret that was retired or whose grace is over", async () => {
    const { admin } = claviger();
    const { id, secret } = await makeKey(admin, { owner: "verify-retired" });
    const second = await admin.keys.rotateKey({ keyId: id, gracePeriod: durationFromMs(0) });
    expect(await admin.verifier.verify({ secret })).toMatchObject({
      verdict: Verdict.RETIRED,
      key: { id, secretVersion: 1 },
    });
    await admin.keys.retireSecret({ keyId: id, version: 2 });
    expect(await verdictOf(admin, second.secret)).toBe("RETIRED");
  });

  it("answers EXPIRED once the full term of 90 days is over, and not a minute before", async () => {
    const { admin, storage } = claviger();
    const { id, secret } = await makeKey(admin, { owner: "verify-expired" });
    await ageKey(storage, id, 90 * DAY_MS - 60_000);
    expect(await verdictOf(admin, secret)).toBe("VALID");
    await ageKey(storage, id, 60_000);
    expect(await admin.verifier.verify({ secret })).toMatchObject({ verdict: Verdict.EXPIRED, key: { id } });
  });

  it("answers EXPIRED a second after a key of one second was made, not earlier", async () => {
    const { admin } = claviger();
    const { secret, key } = await makeKey(admin, { owner: "verify-second", ttl: durationFromMs(1000) });
    expect(await verdictOf(admin, secret)).toBe("VALID");
    const end = key.expireTime === undefined ? 0 : timestampMs(key.expireTime);
    await eventually(async () => {
      const asked = Date.now();
      const verdict = await verdictOf(admin, secret);
      if (asked >= end) expect(verdict).toBe("EXPIRED");
      expect(verdict === "EXPIRED" && Date.now() >= end).toBe(true);
    });
  });

  it("answers ENVIRONMENT_DENIED to a key of another environment than is asked for", async () => {
    const { admin } = claviger();
    const { LIVE, TEST, UNSPECIFIED } = Environment;
    for (const [environment, other] of [
      [LIVE, TEST],
      [TEST, LIVE],
    ] as const) {
      const { id, secret } = await makeKey(admin, { owner: `verify-environment-${environment}`, environment });
      expect(await admin.verifier.verify({ secret, environment: other })).toMatchObject({
        ...{ verdict: Verdict.ENVIRONMENT_DENIED, key: { id, environment } },
      });
      for (const asked of [environment, UNSPECIFIED]) {
        expect(await verdictOf(admin, secret, { environment: asked })).toBe("VALID");
      }
    }
  });

  it("answers ADDRESS_DENIED to an address outside the key's CIDRs, or none", async () => {
    const { admin } = claviger();
    const { id, secret } = await makeKey(admin, {
      owner: "verify-address",
      allowedCidrs: ["10.0.0.0/8", "2001:db8::/32"],
    });
    for (const clientIp of ["11.0.0.1", "2001:db9::1", "::ffff:11.0.0.1", ""]) {
      const answer = await admin.verifier.verify({ secret, clientIp });
      expect(answer).toMatchObject({ verdict: Verdict.ADDRESS_DENIED, key: { id } });
    }
    for (const clientIp of ["10.255.0.1", "2001:db8:1::1", "::ffff:10.0.0.1"]) {
      expect(await verdictOf(admin, secret, { clientIp })).toBe("VALID");
    }
  });

  it("answers SCOPE_MISSING with the scopes that are missing", async () => {
    const { admin } = claviger();
    const { id, secret } = await makeKey(admin, { owner: "verify-scopes", scopes: ["orders:*", "billing:read"] });
    const requiredScopes = ["orders:read", "orders", "billing:read", "billing:write"];
    const answer = await admin.verifier.verify({ secret, requiredScopes });
    expect(answer).toMatchObject({
      verdict: Verdict.SCOPE_MISSING,
      missingScopes: ["orders", "billing:write"],
      key: { id },
    });
  });

  it("does not take the wildcard for scopes of Claviger itself", async () => {
    const { admin } = claviger();
    const { secret } = await makeKey(admin, { owner: "verify-wildcard", scopes: ["*"] });
    expect(await verdictOf(admin, secret, { requiredScopes: ["anything", "at:all"] })).toBe("VALID");
    expect(await verdictOf(admin, secret, { requiredScopes: ["claviger:verify"] })).toBe("SCOPE_MISSING");
  });

  it("answers the first verdict that applies, each earlier than the one added before", async () => {
    const { admin, storage } = claviger();
    const { id, secret } = await makeKey(admin, { owner: "verify-order", allowedCidrs: ["10.0.0.0/8"] });
    const ask = () => verdictOf(admin, secret, { requiredScopes: ["missing"], clientIp: "11.0.0.1" });
    expect(await verdictOf(admin, secret, { requiredScopes: ["missing"], clientIp: "10.0.0.1" })).toBe("SCOPE_MISSING");
    expect(await ask()).toBe("ADDRESS_DENIED");
    const elsewhere = { environment: Environment.TEST, requiredScopes: ["missing"], clientIp: "11.0.0.1" };
    expect(await verdictOf(admin, secret, elsewhere)).toBe("ENVIRONMENT_DENIED");
    await ageKey(storage, id, 90 * DAY_MS);
    expect(await ask()).toBe("EXPIRED");
    await ageKey(storage, id, -DAY_MS);
    await admin.keys.retireSecret({ keyId: id, version: 1 });
    await ageKey(storage, id, DAY_MS);
    expect(await ask()).toBe("RETIRED");
    await admin.keys.updateKey({ key: { id, disabled: true }, updateMask: { paths: ["disabled"] } });
    expect(await ask()).toBe("DISABLED");
    await admin.keys.revokeKey({ keyId: id });
    expect(await ask()).toBe("REVOKED");
  });

  describe("tells when the presented secret ends", () => {
    it("by its retirement while it is retiring", async () => {
      const { admin } = claviger();
      const { id, secret } = await makeKey(admin, { owner: "verify-retiring" });
      const { retiring, key, secret: second } = await admin.keys.rotateKey({ keyId: id });
      const old = await admin.verifier.verify({ secret });
      expect(old).toMatchObject({
        verdict: Verdict.VALID,
        key: { secretVersion: 1 },
        retireTime: retiring?.retireTime,
        secretExpireTime: retiring?.retireTime,
      });
      const current = await admin.verifier.verify({ secret: second });
      expect(current).toMatchObject({ key: { secretVersion: 2 }, secretExpireTime: key?.expireTime });
      expect(current.retireTime).toBeUndefined();
    });
  });

  it.each([
    ["secret", { secret: "x".repeat(4097) }, "secret"],
    ["required scope with a wildcard", { requiredScopes: ["orders:*"] }, "required_scopes[0]"],
    ["required scope `*`", { requiredScopes: ["a", "*"] }, "required_scopes[1]"],
    ["client_ip that is no address", { clientIp: "localhost" }, "client_ip"],
    ["client_ip with a prefix length", { clientIp: "10.0.0.0/8" }, "client_ip"],
    ["client_ip in octal", { clientIp: "010.0.0.1" }, "client_ip"],
    ["method", { method: "Verify" }, "method"],
    ["method that is too long", { method: `/${"x".repeat(200)}/${"y".repeat(60)}` }, "method"],
    ["cost below zero", { cost: -1 }, "cost"],
  ])("refuses a wrong %s", async (_, request, field) => {
    const { admin } = claviger();
    expect(await refusalOf(admin.verifier.verify(request))).toMatchObject({
      code: "InvalidArgument",
      reason: "INVALID_FIELD",
      domain: "claviger",
      fields: [field],
      metadata: { fields: field },
    });
  });
});
