import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import { BadRequestSchema, ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { callError, exitCodeOfCall } from "./call-error.ts";

const TARGET = { url: "http://127.0.0.1:4640", timeoutMs: 15_000, command: "npx claviger", mayHaveChanged: true };

function refusal(code: Code, reason = "SOME_REASON"): ConnectError {
  return new ConnectError("no", code, undefined, [{ desc: ErrorInfoSchema, value: { reason, domain: "claviger" } }]);
}

describe("the exit code of a failed call", () => {
  it.each([
    Code.InvalidArgument,
    Code.NotFound,
    Code.AlreadyExists,
    Code.PermissionDenied,
    Code.ResourceExhausted,
    Code.FailedPrecondition,
    Code.Aborted,
    Code.OutOfRange,
    Code.Unimplemented,
    Code.Unauthenticated,
  ])("is 3 when Claviger refuses with code %i", (code) => {
    expect(exitCodeOfCall(refusal(code))).toBe(3);
  });

  it.each([Code.Unavailable, Code.DeadlineExceeded, Code.Internal, Code.Unknown, Code.Canceled, Code.DataLoss])(
    "is 4 when nothing was decided, code %i",
    (code) => {
      expect(exitCodeOfCall(refusal(code))).toBe(4);
      expect(exitCodeOfCall(new ConnectError("no", code))).toBe(4);
    },
  );

  it.each([Code.Aborted, Code.PermissionDenied, Code.ResourceExhausted])(
    "is 4 for code %i without a reason, which a broken connection has too",
    (code) => {
      expect(exitCodeOfCall(new ConnectError("read ECONNRESET", code))).toBe(4);
    },
  );
});

/** `INVALID_FIELD` about these fields. */
function invalid(violations: Record<string, string>): ConnectError {
  const fieldViolations = Object.entries(violations).map(([field, description]) => ({ field, description }));
  return new ConnectError("invalid request: …", Code.InvalidArgument, undefined, [
    { desc: ErrorInfoSchema, value: { reason: "INVALID_FIELD", domain: "claviger" } },
    { desc: BadRequestSchema, value: { fieldViolations } },
  ]);
}

describe("a failed call", () => {
  it.each([
    ["display_name", "must not be empty", "--name must not be empty"],
    ["key.allowed_cidrs[1]", "must be a prefix", "--cidr must be a prefix"],
    ['labels["Foo Bar"]', "must have a key of letters", "--label must have a key of letters"],
    ["limits.burst", "takes requests_per_second as well", "--burst takes --requests-per-second as well"],
    ["brand_new", "must be old", "brand new must be old"],
  ])("calls %s by its name on the command line, once", (field, description, said) => {
    expect(callError(invalid({ [field]: description }), TARGET)).toMatchObject({ message: said, details: [] });
  });

  it("names every value that is not valid, a line each", () => {
    expect(
      callError(invalid({ display_name: "must not be empty", ttl: "must be at most 90 days" }), TARGET),
    ).toMatchObject({
      message: "some values are not valid",
      details: ["--name must not be empty", "--ttl must be at most 90 days"],
    });
  });

  it("speaks of the flags in what the server advises, and leaves the names of others alone", () => {
    const refused = new ConnectError("team_blue: shorten grace_period", Code.FailedPrecondition, undefined, [
      { desc: ErrorInfoSchema, value: { reason: "VERSION_LIMIT_REACHED", domain: "claviger" } },
    ]);
    expect(callError(refused, TARGET).message).toBe("team_blue: shorten --grace");
  });

  it("says that a change may have been made only where a change was asked for", () => {
    for (const error of [
      new ConnectError("read ECONNRESET", Code.Aborted),
      new ConnectError("", Code.DeadlineExceeded),
    ]) {
      expect(callError(error, TARGET).message).toContain("a change may have been made");
      expect(callError(error, { ...TARGET, mayHaveChanged: false }).message).not.toContain("change");
    }
  });

  it("keeps the server's message, reason, metadata and violations", () => {
    const error = new ConnectError("display_name is too long. Shorten it", Code.InvalidArgument, undefined, [
      {
        desc: ErrorInfoSchema,
        value: { reason: "INVALID_FIELD", domain: "claviger", metadata: { field: "display_name" } },
      },
      { desc: BadRequestSchema, value: { fieldViolations: [{ field: "display_name", description: "at most 63" }] } },
    ]);
    expect(callError(error, TARGET)).toMatchObject({
      exitCode: 3,
      code: "INVALID_ARGUMENT",
      reason: "INVALID_FIELD",
      message: "--name at most 63",
      metadata: { field: "display_name" },
      violations: [{ field: "display_name", description: "at most 63" }],
    });
  });

  it("says which variable holds the credential when that is missing or bad", () => {
    expect(callError(refusal(Code.Unauthenticated, "CREDENTIAL_MISSING"), TARGET).details).toEqual([
      expect.stringContaining("CLAVIGER_TOKEN"),
    ]);
    expect(callError(refusal(Code.Unauthenticated, "CREDENTIAL_INVALID"), TARGET).details).toEqual([
      expect.stringContaining("CLAVIGER_TOKEN"),
    ]);
  });

  it("says that the profile is for another address where its key was therefore not sent", () => {
    const target = { ...TARGET, profileUrl: "http://10.0.0.1:4640" };
    expect(callError(refusal(Code.Unauthenticated, "CREDENTIAL_MISSING"), target).details).toEqual([
      expect.stringContaining(`the profile is for http://10.0.0.1:4640, and its key is not sent to ${TARGET.url}`),
    ]);
  });

  it("says how to start a server when none is reached", () => {
    expect(callError(new ConnectError("connect ECONNREFUSED", Code.Unavailable), TARGET).message).toBe(
      "cannot reach http://127.0.0.1:4640 (connect ECONNREFUSED): is the server running? start it with `npx claviger serve`, or set CLAVIGER_URL",
    );
  });

  it("does not hide an outage that the server tells of behind advice about the connection", () => {
    expect(callError(refusal(Code.Unavailable, "STORAGE_UNAVAILABLE"), TARGET).message).toBe("no");
  });
});
