import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Freshness } from "#gen/claviger/v1/key_verifier_pb.js";
import { createVerifier, type Verification, type Verifier } from "../../src/sdk/index.ts";
import { startClaviger, type TestClaviger } from "../../testkit/claviger.ts";
import { eventually } from "../../testkit/eventually.ts";
import { makeKey } from "../rpc/make-key.ts";
import { DOORS, type Door } from "./doors.ts";

let claviger: TestClaviger;
let verifier: Verifier;

beforeAll(async () => {
  claviger = await startClaviger("embedded");
  verifier = createVerifier({ url: claviger.url, token: claviger.adminToken });
  await eventually(() => expect(verifier.fresh).toBe(true));
});
afterAll(async () => {
  await verifier.close();
  await claviger.close();
});

/** Whether the verifier would let the secret in by itself at this moment. */
function fromMemory(secret: string): Freshness | "ask" {
  const known: Verification | "ask" = verifier.verifySync(secret, { cost: 0 });
  return known === "ask" ? known : known.freshness;
}

describe.each(Object.keys(DOORS))("a service on %s with the real verifier and a real server", (kind) => {
  let door: Door;
  beforeEach(async () => {
    door = (await DOORS[kind]?.(verifier)) as Door;
  });
  afterEach(() => door.close());

  it("lets a key in from memory, and refuses it once RevokeKey has returned", async () => {
    const { id, secret } = await makeKey(claviger.admin, { owner: "alice" });
    await eventually(async () => {
      expect(await door.ping(secret)).toBe("alice");
      expect(fromMemory(secret)).toBe(Freshness.LEASED);
    });
    const { receipt } = await claviger.admin.keys.revokeKey({ keyId: id });
    expect(await door.ping(secret)).toBe("REVOKED");
    // It was told, and not waited out.
    expect(receipt?.expiredVerifierCount).toBe(0);
  });

  it("lets in exactly the key's calls of a day out of twice as many at once", async () => {
    const limits = { requestsPerDay: 10 };
    const { secret } = await makeKey(claviger.admin, { owner: "bob", limits });
    const outcomes = await Promise.all(Array.from({ length: 20 }, () => door.ping(secret)));
    expect(outcomes.filter((outcome) => outcome === "bob")).toHaveLength(10);
    expect(outcomes.filter((outcome) => outcome === "QUOTA_EXHAUSTED")).toHaveLength(10);
  });

  it("requires the scopes of the method, and refuses as soon as one is removed", async () => {
    const { secret, key } = await makeKey(claviger.admin, { owner: "carol", scopes: ["orders:*"] });
    const reader = await makeKey(claviger.admin, { owner: "dora", scopes: ["orders:read"] });
    expect([await door.write(secret), await door.write(reader.secret)]).toEqual(["carol", "SCOPE_MISSING"]);
    expect(await door.ping(reader.secret)).toBe("dora");
    await claviger.admin.keys.updateKey({
      key: { ...key, scopes: ["orders:read"] },
      updateMask: { paths: ["scopes"] },
    });
    expect([await door.write(secret), await door.ping(secret)]).toEqual(["SCOPE_MISSING", "carol"]);
  });
});
