import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it, vi } from "vitest";
import { LogOutput } from "./log-output.ts";

const folder = mkdtempSync(join(tmpdir(), "claviger-log-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("lines are written in order, and at once when they are flushed", async () => {
  const file = join(folder, "log");
  const fd = openSync(file, "a");
  const onLeftOut = vi.fn();
  const output = new LogOutput({ fd, onLeftOut });
  for (let line = 0; line < 1000; line++) output.write(`${line}\n`);
  await vi.waitFor(() => expect(readFileSync(file, "utf8").split("\n")).toHaveLength(1001));
  const before = readFileSync(file, "utf8");
  expect(before).toBe(Array.from({ length: 1000 }, (_, line) => `${line}\n`).join(""));

  output.write("first\n");
  output.write("last\n");
  output.flushSync();
  expect(readFileSync(file, "utf8")).toBe(`${before}first\nlast\n`);
  expect(onLeftOut).not.toHaveBeenCalled();
  closeSync(fd);
});

it.runIf(process.platform === "linux")("what a full disk refuses is left out, and that is reported later", async () => {
  const full = openSync("/dev/full", "w");
  const file = join(folder, "later");
  writeFileSync(file, "");
  const onLeftOut = vi.fn();
  const options = { fd: full, onLeftOut };
  const output = new LogOutput(options);
  output.write("lost\n");
  output.flushSync();
  output.write("lost too\n");
  output.flushSync();
  options.fd = openSync(file, "a");
  await vi.waitFor(() => {
    output.write("kept\n");
    expect(onLeftOut).toHaveBeenCalledWith(14);
  });
  expect(readFileSync(file, "utf8")).toContain("kept\n");
  closeSync(full);
});

it("what waits for an output that takes nothing is bounded", () => {
  // Nothing is taken before this turn ends.
  const fd = openSync(join(folder, "closed"), "w+");
  const onLeftOut = vi.fn();
  const output = new LogOutput({ fd, onLeftOut });
  const line = `${"x".repeat(1024 * 1024 - 1)}\n`;
  for (let count = 0; count < 20; count++) output.write(line);
  output.flushSync();
  closeSync(fd);
  expect(readFileSync(join(folder, "closed")).length).toBeLessThan(10 * 1024 * 1024);
});
