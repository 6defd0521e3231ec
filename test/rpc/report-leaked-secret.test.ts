import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import { ActorKind, KeyState, RevocationReason } from "#gen/claviger/v1/key_pb.js";
import { type Clients, describeOnEachStorage } from "../../testkit/claviger.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { ageKey } from "./age-key.ts";
import { forge, mistype } from "./forge.ts";
import { makeKey } from "./make-key.ts";
import { verdictOf } from "./verdict-of.ts";

const DAY_MS = 86_400_000;

describeOnEachStorage("ReportLeakedSecret", (claviger) => {
  const anybody = (): Clients => claviger().as(undefined);
  const report = (secret: string, source = "") => anybody().keys.reportLeakedSecret({ secret, source });
  const read = async (keyId: string) => (await claviger().admin.keys.getKey({ keyId })).key;

  it("revokes the key of a current secret, by whoever holds it, and remembers where it was found", async () => {
    const { admin } = claviger();
    const { id, secret } = await makeKey(admin, { owner: "leak-current" });
    await report(secret, "https://example.com/paste/1");
    expect(await verdictOf(admin, secret)).toBe("REVOKED");
    expect(await read(id)).toMatchObject({
      state: KeyState.REVOKED,
      revokeReason: RevocationReason.COMPROMISED,
      revokeNote: "https://example.com/paste/1",
      revokedBy: { kind: ActorKind.HOLDER, subject: "", keyId: id, address: "127.0.0.1" },
    });
  });

  it("revokes the key of a retiring secret, the current one with it", async () => {
    const { admin } = claviger();
    const { id, secret } = await makeKey(admin, { owner: "leak-retiring" });
    const second = await admin.keys.rotateKey({ keyId: id });
    await report(secret);
    expect(await verdictOf(admin, second.secret)).toBe("REVOKED");
  });

  it("revokes a disabled key, which could be enabled again otherwise", async () => {
    const { admin } = claviger();
    const { id, secret } = await makeKey(admin, { owner: "leak-disabled" });
    await admin.keys.updateKey({ key: { id, disabled: true }, updateMask: { paths: ["disabled"] } });
    await report(`secret-token:${secret}`);
    expect((await read(id))?.state).toBe(KeyState.REVOKED);
  });

  it("changes nothing for a secret that is dead already", async () => {
    const { admin, storage } = claviger();
    const { id, secret: retired } = await makeKey(admin, { owner: "leak-dead" });
    const { secret: expired } = await admin.keys.rotateKey({ keyId: id, gracePeriod: durationFromMs(0) });
    await ageKey(storage, id, 90 * DAY_MS);
    const { secret: current } = await admin.keys.rotateKey({ keyId: id });
    const before = await read(id);
    await report(retired);
    await report(expired);
    expect(await read(id)).toEqual(before);
    expect(await verdictOf(admin, current)).toBe("VALID");
  });

  it("changes nothing for a key that is revoked already", async () => {
    const { admin } = claviger();
    const { id, secret } = await makeKey(admin, { owner: "leak-revoked" });
    const { key } = await admin.keys.revokeKey({ keyId: id, note: "first" });
    await report(secret, "second");
    expect(await read(id)).toEqual(key);
  });

  it("answers the same to every input", async () => {
    const { admin } = claviger();
    const { id, secret } = await makeKey(admin, { owner: "leak-same" });
    for (const text of ["", "x", "x".repeat(4096), mistype(secret), forge(secret), secret, secret]) {
      expect(await report(text)).toEqual({ $typeName: "claviger.v1.ReportLeakedSecretResponse" });
    }
    expect((await read(id))?.state).toBe(KeyState.REVOKED);
  });

  it("does not look at the caller's credential, were it the worst", async () => {
    const { admin, as } = claviger();
    const { id, secret } = await makeKey(admin, { owner: "leak-credential" });
    await as("garbage").keys.reportLeakedSecret({ secret });
    expect((await read(id))?.state).toBe(KeyState.REVOKED);
  });

  it("does not keep the secret when it is pasted into the source too", async () => {
    const { admin } = claviger();
    const { id, secret } = await makeKey(admin, { owner: "leak-pasted" });
    await report(secret, `found KEY=${secret} in CI`);
    expect((await read(id))?.revokeNote).toBe("found KEY=clv_live_[redacted] in CI");
  });

  it.each([
    ["a secret of 4097 bytes", { secret: "x".repeat(4097) }, "secret"],
    ["a source of 513 characters", { source: "x".repeat(513) }, "source"],
    ["a source with U+0000", { source: "\u0000" }, "source"],
  ])("refuses %s", async (_, request, field) => {
    expect(await refusalOf(anybody().keys.reportLeakedSecret(request))).toMatchObject({
      code: "InvalidArgument",
      reason: "INVALID_FIELD",
      domain: "claviger",
      fields: [field],
    });
  });
});
