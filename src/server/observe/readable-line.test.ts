import { expect, it } from "vitest";
import { readableLine } from "./readable-line.ts";

const plain = (entry: object) => readableLine(`${JSON.stringify(entry)}\n`, { isColoured: false });
const time = new Date(2026, 10, 26, 9, 5, 3, 7).toISOString();

it("a line for people has local time, level, event and message, then the other properties", () => {
  const entry = { level: "warn", time, event: "redis", purpose: "bus", forMs: 12, reason: "not there", msg: "away" };
  expect(plain(entry)).toBe('09:05:03.007 WARN  redis: away purpose=bus forMs=12 reason="not there"\n');
});

it("the stack of an error is indented below its line", () => {
  const err = { type: "Error", message: "no", stack: "Error: no\n    at a\n    at b" };
  expect(plain({ level: "error", time, err, msg: "failed" })).toBe(
    "09:05:03.007 ERROR failed\n  Error: no\n      at a\n      at b\n",
  );
});

it("no value moves the cursor of a terminal", () => {
  const text = plain({ level: "info", time, owner: "a\u001b[2Jb", err: { stack: "x\u001b[1A" }, msg: "m" });
  expect(text).not.toContain("\u001b");
});

it("colours are there when they are asked for, and a line that is no JSON stays as it is", () => {
  const line = `${JSON.stringify({ level: "error", time, msg: "m" })}\n`;
  expect(readableLine(line, { isColoured: true })).toContain("\u001b[31mERROR");
  expect(readableLine("plain\n", { isColoured: true })).toBe("plain\n");
});
