import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import { Environment } from "#gen/claviger/v1/key_pb.js";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { describeOnEachStorage } from "../../testkit/claviger.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { forge, mistype } from "./forge.ts";
import { makeKey } from "./make-key.ts";

describeOnEachStorage("BatchVerify", (claviger) => {
  it("answers in the order of the requests, each as Verify does", async () => {
    const { admin } = claviger();
    const { id, secret: old } = await makeKey(admin, { owner: "batch", scopes: ["a"], allowedCidrs: ["10.0.0.0/8"] });
    const { secret } = await admin.keys.rotateKey({ keyId: id, gracePeriod: durationFromMs(0) });
    const revoked = await makeKey(admin, { owner: "batch" });
    await admin.keys.revokeKey({ keyId: revoked.id });
    const disabled = await makeKey(admin, { owner: "batch" });
    const updateMask = { paths: ["disabled"] };
    await admin.keys.updateKey({ key: { id: disabled.id, disabled: true }, updateMask });
    const clientIp = "10.0.0.1";
    const requests = [
      { secret, clientIp },
      { secret: mistype(secret) },
      { secret: forge(secret) },
      { secret: revoked.secret },
      { secret: disabled.secret },
      { secret: old },
      { secret },
      { secret, clientIp, requiredScopes: ["a", "b"] },
      {},
      { secret, clientIp, requiredScopes: ["a"] },
      { secret, environment: Environment.TEST },
      { secret, clientIp, environment: Environment.LIVE },
    ];
    const { responses } = await admin.verifier.batchVerify({ requests });
    expect(responses.map(({ verdict }) => verdict)).toEqual([
      Verdict.VALID,
      Verdict.MALFORMED,
      Verdict.UNKNOWN,
      Verdict.REVOKED,
      Verdict.DISABLED,
      Verdict.RETIRED,
      Verdict.ADDRESS_DENIED,
      Verdict.SCOPE_MISSING,
      Verdict.MALFORMED,
      Verdict.VALID,
      Verdict.ENVIRONMENT_DENIED,
      Verdict.VALID,
    ]);
    for (const [index, request] of requests.entries()) {
      const { revision, freshness, ...alone } = await admin.verifier.verify(request);
      expect(responses[index]).toMatchObject(alone);
    }
  });

  it("takes a hundred, the same secret many times too", async () => {
    const { admin } = claviger();
    const { id, secret } = await makeKey(admin, { owner: "batch-hundred" });
    const { responses } = await admin.verifier.batchVerify({
      requests: Array.from({ length: 100 }, () => ({ secret })),
    });
    expect(responses).toHaveLength(100);
    for (const { verdict, key } of responses) expect([verdict, key?.id]).toEqual([Verdict.VALID, id]);
  });

  it("takes none", async () => {
    expect((await claviger().admin.verifier.batchVerify({})).responses).toEqual([]);
  });

  it.each([
    ["more than a hundred", Array.from({ length: 101 }, () => ({})), "requests"],
    ["a secret of 4097 bytes", [{}, { secret: "x".repeat(4097) }], "requests[1].secret"],
    ["a client_ip that is no address", [{ clientIp: "here" }], "requests[0].client_ip"],
    ["a wildcard", [{}, {}, { requiredScopes: ["a", "b:*"] }], "requests[2].required_scopes[1]"],
  ])("refuses %s as a whole", async (_, requests, field) => {
    expect(await refusalOf(claviger().admin.verifier.batchVerify({ requests }))).toMatchObject({
      code: "InvalidArgument",
      reason: "INVALID_FIELD",
      domain: "claviger",
      fields: [field],
    });
  });
});
