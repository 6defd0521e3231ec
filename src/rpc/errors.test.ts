import { Code } from "@connectrpc/connect";
import { pino } from "pino";
import { expect, it } from "vitest";
import { ErrorReason } from "#gen/claviger/v1/error_reason_pb.js";
import { RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { ClavigerError, type Reason } from "../keys/errors.ts";
import { presentError, toConnectError } from "./errors.ts";

const REASONS = Object.keys(ErrorReason).filter((name) => /^[A-Z]/.test(name) && name !== "UNSPECIFIED") as Reason[];

it("every refusal that is UNAVAILABLE says when to try again", () => {
  const unavailable = REASONS.map((reason) => toConnectError(new ClavigerError(reason, "no. Retry"))).filter(
    ({ code }) => code === Code.Unavailable,
  );
  expect(unavailable.length).toBeGreaterThanOrEqual(7);
  for (const error of unavailable) {
    const [info] = error.findDetails(RetryInfoSchema);
    expect(Number(info?.retryDelay?.seconds), error.message).toBeGreaterThan(0);
  }
});

it("an outage that has lines of its own in the log has none for each call, and a defect has", () => {
  const lines: string[] = [];
  const log = pino({ base: null }, { write: (line) => void lines.push(JSON.parse(line).msg) });
  const cause = new Error("connect ECONNREFUSED");
  for (const reason of ["STORAGE_UNAVAILABLE", "ISSUER_UNAVAILABLE"] as const) {
    presentError(new ClavigerError(reason, "no. Retry", { cause }), log, "call-1");
  }
  expect(lines).toEqual([]);
  presentError(new TypeError("x is undefined"), log, "call-2");
  expect(lines).toEqual(["internal error"]);
});
