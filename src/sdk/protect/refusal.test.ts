import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { Freshness, Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { ErrorInfoSchema, RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { explainedError } from "../../wire/errors.ts";
import { type Refusal, refusalOf, refusalOfError } from "../../wire/refusal.ts";
import type { Verification } from "../verification.ts";
import { couldNotDecide, unasked } from "../verifier/wire.ts";

type VerdictName = keyof typeof Verdict;

function refused(verdict: VerdictName, further: Partial<Verification> = {}): Refusal | undefined {
  return refusalOf({
    verdict: Verdict[verdict],
    key: undefined,
    secretExpireTime: undefined,
    retireTime: undefined,
    missingScopes: [],
    retryAfterMs: undefined,
    freshness: Freshness.LEASED,
    revision: 1,
    ...further,
  });
}

describe("the refusal for a verdict", () => {
  test.each<[VerdictName, Code, string]>([
    ["MALFORMED", Code.Unauthenticated, "CREDENTIAL_INVALID"],
    ["UNKNOWN", Code.Unauthenticated, "CREDENTIAL_INVALID"],
    ["REVOKED", Code.Unauthenticated, "CREDENTIAL_INVALID"],
    ["DISABLED", Code.Unauthenticated, "CREDENTIAL_INVALID"],
    ["RETIRED", Code.Unauthenticated, "CREDENTIAL_INVALID"],
    ["EXPIRED", Code.Unauthenticated, "CREDENTIAL_INVALID"],
    ["ADDRESS_DENIED", Code.PermissionDenied, "PERMISSION_DENIED"],
    ["SCOPE_MISSING", Code.PermissionDenied, "PERMISSION_DENIED"],
    ["RATE_LIMITED", Code.ResourceExhausted, "RATE_LIMITED"],
    ["QUOTA_EXHAUSTED", Code.ResourceExhausted, "QUOTA_EXHAUSTED"],
  ])("%s is code %i, %s, and says what to do", (verdict, code, reason) => {
    const refusal = refused(verdict);
    expect(refusal).toMatchObject({ code, reason, metadata: { verdict } });
    expect(refusal?.message).toMatch(/\. (Call|Copy|Have|Rotate|Retry) .+[^.]$/);
  });

  test("VALID lets a call in, and an unknown verdict does not", () => {
    expect(refused("VALID")).toBeUndefined();
    expect(refused("UNSPECIFIED")).toMatchObject({ code: Code.Internal });
    expect(refused("VALID", { verdict: 99 as Verdict })).toMatchObject({ code: Code.Internal, reason: "INTERNAL" });
  });

  test("names a missing scope, and the time after which a limit allows a call", () => {
    expect(refused("SCOPE_MISSING", { missingScopes: ["a:b", "c"] })).toMatchObject({
      message: "the key lacks a:b, c. Call with a key that has it",
      metadata: { missing_scopes: "a:b,c" },
    });
    const limited = refused("RATE_LIMITED", { retryAfterMs: 1500 });
    if (limited === undefined) throw new Error("a limit refuses");
    const error = explainedError(limited);
    expect(error.findDetails(RetryInfoSchema)).toMatchObject([{ retryDelay: durationFromMs(1500) }]);
    expect(error.findDetails(ErrorInfoSchema)).toMatchObject([{ domain: "claviger", reason: "RATE_LIMITED" }]);
  });
});

describe("the refusal for a failed verification", () => {
  test.each([Code.Unavailable, Code.DeadlineExceeded, Code.Canceled, Code.Unknown])(
    "is UNAVAILABLE, never a bad key, though the verifier was refused with code %i",
    (code) => {
      const refusal = refusalOfError(new ConnectError("10.0.0.3:4640 refused", code));
      expect(refusal).toMatchObject({ code: Code.Unavailable, reason: "SERVER_UNREACHABLE", retryAfterMs: 1000 });
      expect(refusal.message).not.toContain("10.0.0.3");
    },
  );

  test.each([
    ["a key of its own that is refused", new ConnectError("10.0.0.3:4640 refused", Code.Unauthenticated)],
    ["a key of its own that lacks the scope", new ConnectError("10.0.0.3:4640 refused", Code.PermissionDenied)],
    [
      "a wrong address",
      unasked({ code: "CLAVIGER_NO_TLS", message: "10.0.0.3:4640", isPermanent: true }, new Error("no")),
    ],
  ])("is UNAVAILABLE without a retry delay if the verifier has %s", (_, error) => {
    const refusal = refusalOfError(error);
    expect(refusal).toMatchObject({ code: Code.Unavailable, reason: "VERIFIER_MISCONFIGURED", cause: error });
    expect([refusal.retryAfterMs, refusal.message]).toEqual([
      undefined,
      expect.stringMatching(/^(?!.*(?:10\.0\.0\.3|[Rr]etry)).*says nothing about the key.*Report it/),
    ]);
  });

  test("is SHUTTING_DOWN for a closed verifier", () => {
    const closed = couldNotDecide("VERIFIER_CLOSED", "this verifier was closed. Create another");
    expect(refusalOfError(closed)).toMatchObject({ reason: "SHUTTING_DOWN", retryAfterMs: 1000 });
  });

  test("keeps Claviger's reason and retry delay", () => {
    const error = new ConnectError("no", Code.Unavailable, undefined, [
      { desc: ErrorInfoSchema, value: { domain: "claviger", reason: "STORAGE_UNAVAILABLE" } },
      { desc: RetryInfoSchema, value: { retryDelay: durationFromMs(2500) } },
    ]);
    expect(refusalOfError(error)).toMatchObject({ reason: "STORAGE_UNAVAILABLE", retryAfterMs: 2500 });
  });

  test("is INTERNAL for a wrong question and for a defect", () => {
    expect(refusalOfError(new ConnectError("scopes", Code.InvalidArgument))).toMatchObject({ code: Code.Internal });
    expect(refusalOfError(new TypeError("x"))).toMatchObject({ code: Code.Internal, cause: new TypeError("x") });
  });
});
