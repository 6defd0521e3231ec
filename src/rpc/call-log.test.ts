import { Code, ConnectError, createContextValues } from "@connectrpc/connect";
import { pino } from "pino";
import { beforeEach, expect, it } from "vitest";
import { CallLog } from "./call-log.ts";

let lines: Record<string, unknown>[];
let log: CallLog;

beforeEach(() => {
  lines = [];
  log = new CallLog(pino({ level: "info" }, { write: (line) => void lines.push(JSON.parse(line)) }), () => 0);
});

it("a call has one line, whatever comes of it after its caller was answered", () => {
  const values = createContextValues();
  log.begin(values);
  log.refused("a.B/C", values, new ConnectError("late", Code.DeadlineExceeded));
  log.verified("a.B/C", values, "valid");
  log.unread("a.B/C", values);
  expect(lines.map(({ code }) => code)).toEqual(["DeadlineExceeded"]);
});
