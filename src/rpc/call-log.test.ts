import { Code, ConnectError } from "@connectrpc/connect";
import { beforeEach, expect, it } from "vitest";
import { Call } from "./call.ts";
import { CallLog } from "./call-log.ts";

let lines: string[];
let log: CallLog;
let call: Call;

beforeEach(() => {
  lines = [];
  let monotonicMs = 5;
  const clocks = { monotonicMs: () => (monotonicMs += 1.23456), wallMs: () => Date.UTC(2026, 10, 26) };
  log = new CallLog({ logLine: (line) => void lines.push(line), clocks });
  call = new Call("10.0.0.1");
  call.caller = { ...call.caller, requestId: "a.b:c-d_1" };
});

it("a call has one line, whatever comes of it after its caller was answered", () => {
  log.begin(call);
  log.refused("a.B/C", call, new ConnectError("late", Code.DeadlineExceeded));
  log.verified("a.B/C", call, "valid");
  log.unread("a.B/C", call);
  expect(lines.map((line) => JSON.parse(line).code)).toEqual(["DeadlineExceeded"]);
});

it("a line is one JSON object with a newline, and says when, what, how it ended, how long it took, and who called", () => {
  log.begin(call);
  log.verified("a.B/C", call, "scope_missing");
  expect(lines[0]).toMatch(/^[^\n]+\n$/);
  expect(JSON.parse(lines[0] ?? "")).toEqual({
    level: "info",
    time: "2026-11-26T00:00:00.000Z",
    event: "call",
    method: "a.B/C",
    code: "ok",
    verdict: "SCOPE_MISSING",
    durationMs: 1.235,
    caller: "anonymous",
    requestId: "a.b:c-d_1",
    msg: "call",
  });
});

it("the time of a line is that of the line, not of the one before", () => {
  let wallMs = Date.UTC(2026, 0, 1);
  const own = new CallLog({
    logLine: (line) => void lines.push(line),
    clocks: { monotonicMs: () => 0, wallMs: () => wallMs },
  });
  for (const ms of [0, 0, 1]) {
    wallMs += ms;
    own.unread("a.B/C", new Call(""));
  }
  expect(lines.map((line) => JSON.parse(line).time)).toEqual([
    "2026-01-01T00:00:00.000Z",
    "2026-01-01T00:00:00.000Z",
    "2026-01-01T00:00:00.001Z",
  ]);
});
