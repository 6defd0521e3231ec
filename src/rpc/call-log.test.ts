import { Code, ConnectError } from "@connectrpc/connect";
import { beforeEach, expect, it } from "vitest";
import { Call } from "./call.ts";
import { CallLog, codeName } from "./call-log.ts";

let lines: string[];
let counted: [string, string, number][];
let log: CallLog;
let call: Call;

beforeEach(() => {
  lines = [];
  counted = [];
  let monotonicMs = 5;
  const clocks = { monotonicMs: () => (monotonicMs += 1.23456), wallMs: () => Date.UTC(2026, 10, 26) };
  const write = (line: string) => void lines.push(line);
  log = new CallLog({ debug: write, info: write, clocks, onCall: (...counts) => void counted.push(counts) });
  call = new Call("10.0.0.1");
  call.caller = { ...call.caller, requestId: "a.b:c-d_1" };
});

const written = () => lines.map((line) => JSON.parse(line));

it("a call has one line and counts once, whatever comes of it after its caller was answered", () => {
  log.begin(call);
  log.refused("a.B/C", call, new ConnectError("late", Code.DeadlineExceeded));
  log.verified("a.B/C", call, "valid");
  log.overloaded("a.B/C", call);
  expect(written().map(({ code }) => code)).toEqual(["DEADLINE_EXCEEDED"]);
  expect(counted).toEqual([["a.B/C", "DEADLINE_EXCEEDED", 1.235]]);
});

it("a line is one JSON object with a newline, and says when, what, how it ended, how long it took, and who called", () => {
  log.begin(call);
  log.verified("a.B/C", call, "scope_missing");
  expect(lines[0]).toMatch(/^[^\n]+\n$/);
  expect(JSON.parse(lines[0] ?? "")).toEqual({
    level: "debug",
    time: "2026-11-26T00:00:00.000Z",
    event: "call",
    method: "a.B/C",
    code: "OK",
    verdict: "SCOPE_MISSING",
    durationMs: 1.235,
    caller: "anonymous",
    address: "10.0.0.1",
    requestId: "a.b:c-d_1",
    msg: "call",
  });
});

it("a line of a service has its key id, its owner whatever that holds, and its address; no line has a secret", () => {
  const secret = `clv_live_${"0".repeat(49)}`;
  for (const owner of ['o"w\nner', secret]) {
    const service = new Call("::1");
    const identity = { kind: "service", keyId: "key_1", version: 1, owner, scopes: [] } as const;
    service.caller = { ...identity, address: "::1", requestId: "r" };
    log.verified("a.B/C", service, "valid");
  }
  expect(written()[0]).toMatchObject({ keyId: "key_1", owner: 'o"w\nner', address: "::1" });
  expect(lines[1]).not.toContain(secret);
});

it("a refused caller has its line at info as long as the log allows it, and at debug after that", () => {
  const told: string[] = [];
  const own = new CallLog({
    debug: () => void told.push("debug"),
    info: () => void told.push("info"),
    allowsRefused: (caller) => told.push(caller) < 3,
    clocks: { monotonicMs: () => 0, wallMs: () => 0 },
  });
  for (const code of [Code.Unauthenticated, Code.PermissionDenied, Code.NotFound]) {
    own.refused("a.B/C", new Call("10.0.0.1"), new ConnectError("no", code));
  }
  expect(told).toEqual(["10.0.0.1", "info", "10.0.0.1", "debug", "debug"]);
});

it("every gRPC code has its name", () => {
  for (const code of Object.values(Code).filter((each) => typeof each === "number")) {
    expect(codeName(code)).toMatch(/^[A-Z_]+$/);
  }
});

it("the time of a line is that of the line, not of the one before", () => {
  let wallMs = Date.UTC(2026, 0, 1);
  const clocks = { monotonicMs: () => 0, wallMs: () => wallMs };
  const own = new CallLog({ debug: (line) => void lines.push(line), info: undefined, clocks });
  for (const ms of [0, 0, 1]) {
    wallMs += ms;
    own.overloaded("a.B/C", new Call(""));
  }
  expect(written().map(({ time }) => time)).toEqual([
    "2026-01-01T00:00:00.000Z",
    "2026-01-01T00:00:00.000Z",
    "2026-01-01T00:00:00.001Z",
  ]);
});
