import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { describeWithPostgres } from "./describe-with.ts";
import { eventually } from "./eventually.ts";
import { endWithin, spawnGuarded } from "./guarded-process.ts";

const MODULE = new URL("./postgres-server.ts", import.meta.url).href;
const PROGRAM = `
  const { startPostgresServer } = await import("${MODULE}");
  const server = await startPostgresServer();
  console.log(JSON.stringify({ pid: server.pid(), logFile: server.logFile }));
  setInterval(() => undefined, 1000);
`;

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

describeWithPostgres("a guarded server", () => {
  test("and its folder are gone once the process that started it was killed with SIGKILL", async () => {
    const starter = spawn(process.execPath, ["--input-type=module", "-e", PROGRAM], {
      cwd: fileURLToPath(new URL("..", import.meta.url)),
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = await once(starter.stdout, "data");
    const { pid, logFile } = JSON.parse(String(line));
    expect([isAlive(pid), existsSync(logFile)]).toEqual([true, true]);
    starter.kill("SIGKILL");
    await eventually(() => expect([isAlive(pid), existsSync(logFile)]).toEqual([false, false]));
  });
});

const GUARDED = new URL("./guarded-process.ts", import.meta.url).href;
const DEAF = `process.on("SIGTERM", () => undefined); setInterval(() => undefined, 1000);`;
const STOPPING = (signal: string) => `
  const { spawnGuarded } = await import("${GUARDED}");
  const { child, pid } = await spawnGuarded({
    command: process.execPath,
    args: ["-e", ${JSON.stringify(`${DEAF} console.log("up");`)}],
    spawn: { stdio: ["ignore", "pipe", "ignore"] },
  });
  child.stdout.once("data", () => {
    child.kill("${signal}");
    console.log(pid);
  });
`;

describe("a guarded process", () => {
  test.each([
    ["hears no SIGTERM", "SIGTERM"],
    ["is stopped", "SIGSTOP"],
  ])("that %s is gone too once the process that started it was killed with SIGKILL", async (_, signal) => {
    const starter = spawn(process.execPath, ["--input-type=module", "-e", STOPPING(signal)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = await once(starter.stdout, "data");
    expect(isAlive(Number(line))).toBe(true);
    starter.kill("SIGKILL");
    await eventually(() => expect(isAlive(Number(line))).toBe(false));
  });
});

describe("endWithin", () => {
  test("ends what the process started too, also when the process itself is gone already", async () => {
    const parent = await spawnGuarded({
      command: "sh",
      args: ["-c", "sleep 60 & echo $!; wait"],
      spawn: { stdio: ["ignore", "pipe", "ignore"] },
    });
    const [line] = await once(parent.child.stdout ?? process.stdin, "data");
    parent.child.kill("SIGKILL");
    await endWithin(parent, 100);
    await eventually(() => expect(isAlive(Number(line))).toBe(false));
  });
});
