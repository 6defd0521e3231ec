import { createHash } from "node:crypto";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import { ActorKind, Environment, KeyState, SecretState } from "#gen/claviger/v1/key_pb.js";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { apiKey, keyOwner, secretVersion } from "../../src/postgres/schema.ts";
import { describeOnEachStorage } from "../../testkit/claviger.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { ageKey } from "./age-key.ts";
import { makeKey } from "./make-key.ts";
import { verdictOf } from "./verdict-of.ts";

const DAY_MS = 86_400_000;

const numbered = (count: number, item: (number: number) => string) => Array.from({ length: count }, (_, i) => item(i));
const labelled = (count: number) => Object.fromEntries(numbered(count, (i) => `l${i}`).map((name) => [name, ""]));
/** Metadata of that many bytes as proto JSON. */
const metadataOf = (bytes: number) => ({ m: "x".repeat(bytes - '{"m":""}'.length) });

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

  it("takes exactly ten of thirty that are created at once", async () => {
    const { admin } = claviger();
    const attempts = numbered(30, () => "create-parallel").map((owner) => makeKey(admin, { owner }));
    const outcomes = await Promise.allSettled(attempts);
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(10);
    for (const attempt of attempts.filter((_, i) => outcomes[i]?.status === "rejected")) {
      expect(await refusalOf(attempt)).toMatchObject({ code: "ResourceExhausted", reason: "KEY_LIMIT_REACHED" });
    }
  });

  it("counts disabled keys, and no expired ones, and each owner's on their own", async () => {
    const { admin, storage } = claviger();
    const owner = "create-counted";
    const made = [];
    for (let i = 0; i < 10; i++) made.push(await makeKey(admin, { owner }));
    const [first, second] = made.map(({ id }) => id);
    await admin.keys.updateKey({ key: { id: first ?? "", disabled: true }, updateMask: { paths: ["disabled"] } });
    expect(await refusalOf(makeKey(admin, { owner }))).toMatchObject({ reason: "KEY_LIMIT_REACHED" });
    await ageKey(storage, second ?? "", 90 * DAY_MS);
    await makeKey(admin, { owner });
    expect(await refusalOf(makeKey(admin, { owner }))).toMatchObject({ reason: "KEY_LIMIT_REACHED" });
    await makeKey(admin, { owner: "create-counted-other" });
  });

  it("is live by default, and has no other limits, marks or history than those asked for", async () => {
    const { admin } = claviger();
    const { key, secret } = await makeKey(admin, { owner: "create-default" });
    expect(secret).toMatch(/^clv_live_/);
    expect(key).toMatchObject({
      environment: Environment.LIVE,
      scopes: [],
      labels: {},
      allowedCidrs: [],
      revokeNote: "",
      createdBy: { kind: ActorKind.SERVICE, subject: "claviger:admin", address: "127.0.0.1" },
      updateTime: key.createTime,
    });
    expect(key.createdBy?.keyId).toMatch(/^key_/);
    expect(key.etag).not.toBe("");
    for (const unset of [key.metadata, key.limits, key.revokeTime, key.revokedBy, key.lastUsedTime]) {
      expect(unset).toBeUndefined();
    }
  });

  it("makes two keys of one name, each with an id and a secret of its own", async () => {
    const { admin } = claviger();
    const [one, two] = [
      await makeKey(admin, { owner: "create-twice", displayName: "same" }),
      await makeKey(admin, { owner: "create-twice", displayName: "same" }),
    ];
    expect(two.id > one.id).toBe(true);
    expect(two.secret).not.toBe(one.secret);
  });

  it("keeps the secret nowhere, in no form", async () => {
    const { admin, storage } = claviger();
    const { secret } = await makeKey(admin, { owner: "create-kept" });
    const rows = await storage.read(async (database) => [
      ...(await database.select().from(apiKey)),
      ...(await database.select().from(keyOwner)),
      ...(await database.select().from(secretVersion)).map((row) => ({ ...row, digest: row.digest.toString("hex") })),
    ]);
    const stored = JSON.stringify(rows);
    const plainHash = createHash("sha256").update(secret).digest("hex");
    for (const form of [secret, secret.slice(-49), Buffer.from(secret).toString("hex"), plainHash]) {
      expect(stored).not.toContain(form);
    }
    expect(stored).toContain("create-kept");
  });

  it("takes every field at its limit", async () => {
    const { admin } = claviger();
    const asked = {
      owner: "create-".padEnd(255, "o"),
      displayName: "😀".repeat(63),
      scopes: [...numbered(62, (i) => `s${i}:*`), "*", "a".repeat(128)],
      labels: { ...labelled(31), ["k".repeat(63)]: "v".repeat(63) },
      metadata: metadataOf(4096),
      allowedCidrs: numbered(50, (i) => (i % 2 === 0 ? `10.0.0.${i}/32` : `2001:db8::${i}/128`)),
      ttl: durationFromMs(1000),
    };
    expect((await makeKey(admin, asked)).key).toMatchObject({
      owner: asked.owner,
      displayName: asked.displayName,
      scopes: asked.scopes,
      labels: asked.labels,
      metadata: asked.metadata,
      allowedCidrs: asked.allowedCidrs,
    });
  });

  it("takes whatever metadata JSON can hold, and gives it back with the verdict", async () => {
    const { admin } = claviger();
    const metadata = {
      "": "",
      ["__proto__"]: { constructor: 1 },
      text: "\\u0000 \u2028 \ud83d\ude00 \u0001",
      deep: [[[{ a: [null, true, -0.5, 1e300] }]]],
    };
    const { secret, key } = await makeKey(admin, { owner: "create-metadata", metadata });
    expect(key.metadata).toEqual(metadata);
    expect((await admin.verifier.verify({ secret })).key?.metadata).toEqual(metadata);
  });

  it("takes every prefix that passes the rule for one, so that verification never stumbles over it", async () => {
    const { admin } = claviger();
    const allowedCidrs = [
      ...["0.0.0.0/0", "10.1.2.3/8", "255.255.255.255/32", "::/0", "::1/128", "2001:DB8::F/32", "1:2:3:4:5:6:7:8/64"],
      ...["::ffff:10.0.0.0/104", "::ffff:1.2.3.4/0", "::10.0.0.1/128", "64:ff9b::1.2.3.4/96", "1::/000"],
    ];
    for (const cidr of allowedCidrs) {
      const made = makeKey(admin, { owner: `create-${cidr}`, allowedCidrs: [cidr] });
      const secret = await made.then(
        ({ secret }) => secret,
        async () => {
          expect(await refusalOf(made)).toMatchObject({ fields: ["allowed_cidrs[0]"] });
          return undefined;
        },
      );
      if (secret === undefined) continue;
      const verdict = await verdictOf(admin, secret, { clientIp: "203.0.113.1" });
      expect(["VALID", "ADDRESS_DENIED"]).toContain(verdict);
    }
  });

  it.each([
    ["an owner of 256 bytes", { owner: "é".repeat(128) }, "owner"],
    ["an owner with a control character", { owner: "a\nb" }, "owner"],
    ["a reserved owner", { owner: "claviger:robots" }, "owner"],
    ["no display name", { displayName: "" }, "display_name"],
    ["a display name of 64 characters", { displayName: "é".repeat(64) }, "display_name"],
    ["a display name with a control character", { displayName: "a\u0000" }, "display_name"],
    ["an environment that is not known", { environment: 9 as Environment }, "environment"],
    ["65 scopes", { scopes: numbered(65, (i) => `s${i}`) }, "scopes"],
    ["a scope of 129 bytes", { scopes: ["a", "b".repeat(129)] }, "scopes[1]"],
    ["a scope with an empty segment", { scopes: ["a::b"] }, "scopes[0]"],
    ["a scope with a capital", { scopes: ["Orders"] }, "scopes[0]"],
    ["a scope with a wildcard in the middle", { scopes: ["a:*:b"] }, "scopes[0]"],
    ["a scope with half a wildcard", { scopes: ["orders:re*"] }, "scopes[0]"],
    ["a scope with a newline", { scopes: ["a\n"] }, "scopes[0]"],
    ["an empty scope", { scopes: [""] }, "scopes[0]"],
    ["33 labels", { labels: labelled(33) }, "labels"],
    ["a label key with a capital", { labels: { Team: "" } }, 'labels["Team"]'],
    ["a label key of 64 characters", { labels: { ["k".repeat(64)]: "" } }, `labels["${"k".repeat(64)}"]`],
    ["a label value of 64 bytes", { labels: { team: "é".repeat(32) } }, 'labels["team"]'],
    ["metadata of 4097 bytes", { metadata: metadataOf(4097) }, "metadata"],
    ["metadata with U+0000", { metadata: { a: "\u0000" } }, "metadata"],
    ["51 CIDRs", { allowedCidrs: numbered(51, (i) => `10.0.0.${i}/32`) }, "allowed_cidrs"],
    ["a CIDR without a length", { allowedCidrs: ["10.0.0.0"] }, "allowed_cidrs[0]"],
    ["a CIDR that is too long", { allowedCidrs: ["10.0.0.0/33"] }, "allowed_cidrs[0]"],
    ["a ttl of nothing", { ttl: durationFromMs(0) }, "ttl"],
    ["a ttl below zero", { ttl: durationFromMs(-DAY_MS) }, "ttl"],
  ])("refuses %s", async (_, request, field) => {
    const { admin } = claviger();
    const call = admin.keys.createKey({ owner: "create-wrong", displayName: "k", ...request });
    expect(await refusalOf(call)).toMatchObject({
      code: "InvalidArgument",
      reason: "INVALID_FIELD",
      domain: "claviger",
      fields: [field],
      metadata: { fields: field },
    });
  });

  it("names every field that is wrong", async () => {
    const { admin } = claviger();
    const call = admin.keys.createKey({ owner: "a\u0001", scopes: ["!", "ok", "?"], ttl: durationFromMs(1) });
    const { fields } = await refusalOf(call);
    expect(fields.toSorted()).toEqual(["display_name", "owner", "scopes[0]", "scopes[2]", "ttl"]);
  });
});
