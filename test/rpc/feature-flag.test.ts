import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { startClaviger, type TestClaviger } from "../../testkit/claviger.ts";
import { eventually } from "../../testkit/eventually.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { createTestUsers, type TestUsers } from "../../testkit/test-users.ts";
import { type MadeKey, makeKey, UNKNOWN_KEY_ID } from "./make-key.ts";

const FLAG = "enable-api-key-management";
/** The file is read every second; the rest is for a machine that is busy. */
const SEEN_WITHIN_MS = 4000;

describe("enable-api-key-management", () => {
  let folder: string;
  let users: TestUsers;
  let claviger: TestClaviger;
  // Made while the feature was on.
  let made: MadeKey;
  let service: MadeKey;
  let theirs: MadeKey;
  let foreign: MadeKey;
  const file = () => join(folder, "flags.json");

  /** What the flag says about an owner, asked by a call that changes nothing in either case. */
  async function isOn(owner: string): Promise<boolean> {
    const { reason } = await refusalOf(claviger.admin.keys.createKey({ owner, displayName: "" }));
    expect(["FEATURE_DISABLED", "INVALID_FIELD"]).toContain(reason);
    return reason !== "FEATURE_DISABLED";
  }

  /** Writes the rule and waits until it is in force: until an owner who had it off has it on by that rule. */
  async function setFlag(rule: { readonly percent?: number; readonly owners?: readonly string[] }): Promise<void> {
    let mark = "";
    await eventually(async () => {
      mark = `mark-${randomUUID()}`;
      expect(await isOn(mark)).toBe(false);
    });
    await replaceFile({ default: "off", ...rule, owners: [...(rule.owners ?? []), mark] });
    await eventually(async () => expect(await isOn(mark)).toBe(true), { withinMs: SEEN_WITHIN_MS });
  }

  async function replaceFile(rule: unknown): Promise<void> {
    await writeFile(`${file()}.new`, JSON.stringify({ [FLAG]: rule }));
    await rename(`${file()}.new`, file());
  }

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "claviger-flags-"));
    users = createTestUsers();
    await replaceFile("on");
    claviger = await startClaviger("embedded", { CLAVIGER_FLAGS_FILE: file(), ...users.settings });
    made = await makeKey(claviger.admin, { owner: "off", scopes: ["a:b"] });
    await claviger.admin.keys.rotateKey({ keyId: made.id });
    service = await makeKey(claviger.admin, { owner: "flag-service", scopes: ["claviger:keys.write"] });
    theirs = await makeKey(claviger.admin, { owner: "flag-theirs" });
    foreign = await makeKey(claviger.as(users.token("bob")), { owner: "" });
    await replaceFile("off");
    await eventually(async () => expect(await isOn("anybody")).toBe(false), { withinMs: SEEN_WITHIN_MS });
  });
  afterAll(async () => {
    await claviger?.close();
    users.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  describe("switched off while the server runs", () => {
    const gated = () => {
      const { keys } = claviger.admin;
      return [
        () => keys.createKey({ owner: "off", displayName: "k" }),
        () => keys.rotateKey({ keyId: made.id }),
        () => keys.updateKey({ key: { id: made.id, displayName: "x" }, updateMask: { paths: ["display_name"] } }),
        () => keys.updateKey({ key: { id: made.id, disabled: true }, updateMask: { paths: ["disabled"] } }),
      ];
    };

    it("refuses to create, rotate and update", async () => {
      for (const call of gated()) {
        expect(await refusalOf(call())).toMatchObject({
          code: "FailedPrecondition",
          reason: "FEATURE_DISABLED",
          metadata: { flag: FLAG, owner: "off" },
        });
      }
    });

    it("refuses so before it looks at the request", async () => {
      const { keys } = claviger.admin;
      const invalid = [
        () => keys.createKey({ owner: "off" }),
        () => keys.createKey({ owner: "off", displayName: "k", requestId: "x" }),
        () => keys.rotateKey({ keyId: made.id, requestId: "x" }),
        () => keys.rotateKey({ keyId: made.id, etag: "stale" }),
        () => keys.updateKey({ key: { id: made.id } }),
      ];
      for (const call of invalid) expect((await refusalOf(call())).reason).toBe("FEATURE_DISABLED");
    });

    it("refuses after the credential and the permission for the method", async () => {
      const stranger = claviger.as(undefined).keys.createKey({ owner: "off", displayName: "k" });
      expect((await refusalOf(stranger)).reason).toBe("CREDENTIAL_MISSING");
      const holder = claviger.as(made.secret).keys.rotateKey({ keyId: made.id });
      expect((await refusalOf(holder)).reason).toBe("PERMISSION_DENIED");
    });

    it("leaves it to the request's own rules what is no key id, and to storage what is no key", async () => {
      const { keys } = claviger.admin;
      for (const keyId of ["", "key_", "\0", `${made.id}\0`]) {
        const refusal = await refusalOf(keys.rotateKey({ keyId }));
        expect(refusal).toMatchObject({ code: "InvalidArgument", fields: ["key_id"] });
      }
      expect((await refusalOf(keys.rotateKey({ keyId: UNKNOWN_KEY_ID }))).reason).toBe("KEY_NOT_FOUND");
    });

    it("reads, verifies, and ends keys as ever", async () => {
      const { admin, as } = claviger;
      expect((await admin.keys.getKey({ keyId: made.id })).key?.owner).toBe("off");
      expect((await admin.keys.listKeys({ owner: "off" })).keys.length).toBeGreaterThan(0);
      expect((await admin.keys.listAuditEvents({ owner: "off" })).events.length).toBeGreaterThan(0);
      const verdict = async () => (await admin.verifier.verify({ secret: made.secret })).verdict;
      expect(await verdict()).toBe(Verdict.VALID);
      const { responses } = await admin.verifier.batchVerify({ requests: [{ secret: made.secret }] });
      expect(responses[0]?.verdict).toBe(Verdict.VALID);
      await admin.keys.retireSecret({ keyId: made.id, version: 1 });
      expect(await verdict()).toBe(Verdict.RETIRED);
      await admin.keys.revokeKey({ keyId: made.id });
      expect(await verdict()).toBe(Verdict.REVOKED);
      await admin.keys.revokeKeys({ owner: "off" });
      await as(undefined).keys.reportLeakedSecret({ secret: made.secret });
    });
  });

  it("is on for the owners that are listed, and for the share of all others", async () => {
    const owners = Array.from({ length: 60 }, (_, index) => `share-${index}`);
    const on = async () => {
      const answers = await Promise.all(owners.map(isOn));
      return owners.filter((_, index) => answers[index]);
    };
    await setFlag({ owners: ["share-1", "share-2"] });
    expect(await on()).toEqual(["share-1", "share-2"]);
    await setFlag({ percent: 30 });
    const some = await on();
    expect(some.length).toBeGreaterThan(5);
    expect(some.length).toBeLessThan(35);
    expect(await on()).toEqual(some);
    await setFlag({ percent: 60, owners: ["share-1"] });
    const more = await on();
    expect(more).toEqual(expect.arrayContaining([...some, "share-1"]));
    expect(more.length).toBeGreaterThan(some.length);
  });

  it("is judged by the owner acted upon, whoever acts", async () => {
    const { keys } = claviger.as(service.secret);
    await setFlag({ owners: ["flag-theirs"] });
    await keys.rotateKey({ keyId: theirs.id });
    await keys.createKey({ owner: "flag-theirs", displayName: "k" });
    const own = await refusalOf(keys.createKey({ displayName: "k" }));
    expect(own).toMatchObject({ reason: "FEATURE_DISABLED", metadata: { owner: "flag-service" } });
    await setFlag({ owners: ["flag-service"] });
    expect((await refusalOf(keys.rotateKey({ keyId: theirs.id }))).metadata.owner).toBe("flag-theirs");
  });

  it("tells a user nothing about a foreign key: it is answered as one that does not exist", async () => {
    const { keys } = claviger.as(users.token("alice"));
    const attempts = (keyId: string) => [
      () => keys.rotateKey({ keyId }),
      () => keys.updateKey({ key: { id: keyId, displayName: "x" }, updateMask: { paths: ["display_name"] } }),
    ];
    for (const owners of [[], ["acme:alice"], ["acme:bob"], ["acme:alice", "acme:bob"]]) {
      await setFlag({ owners });
      const unknown = attempts(UNKNOWN_KEY_ID);
      for (const [index, attempt] of attempts(foreign.id).entries()) {
        const refusal = await refusalOf(attempt());
        const expected = await refusalOf((unknown[index] ?? attempt)());
        expect(JSON.parse(JSON.stringify(refusal).replaceAll(foreign.id, UNKNOWN_KEY_ID))).toEqual(expected);
        expect(refusal.reason).toBe(owners.includes("acme:alice") ? "KEY_NOT_FOUND" : "FEATURE_DISABLED");
      }
    }
  });

  it("creates again once it is switched on, without a restart", async () => {
    await setFlag({});
    await replaceFile("on");
    await eventually(() => makeKey(claviger.admin, { owner: "on-again" }), { withinMs: SEEN_WITHIN_MS });
  });
});

describe("enable-api-key-management by a provider module", () => {
  beforeEach(() => {
    vi.stubEnv("ENABLE_API_KEY_MANAGEMENT", "true");
    return () => vi.unstubAllEnvs();
  });

  it("is what the provider says, also when that changes, and off when the provider fails", async () => {
    const provider = new URL("../../testkit/fixtures/env-var-flags.mjs", import.meta.url).pathname;
    const claviger = await startClaviger("embedded", { CLAVIGER_FLAGS_FILE: provider });
    try {
      const { id: keyId, secret } = await makeKey(claviger.admin, { owner: "module" });
      for (const value of ["false", undefined, "not a boolean"]) {
        vi.stubEnv("ENABLE_API_KEY_MANAGEMENT", value);
        expect((await refusalOf(makeKey(claviger.admin, { owner: "module" }))).reason).toBe("FEATURE_DISABLED");
      }
      expect((await claviger.admin.verifier.verify({ secret })).verdict).toBe(Verdict.VALID);
      await claviger.admin.keys.revokeKey({ keyId });
      vi.stubEnv("ENABLE_API_KEY_MANAGEMENT", "true");
      await makeKey(claviger.admin, { owner: "module" });
    } finally {
      await claviger.close();
    }
  });
});
