import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { describeWithPostgres } from "./describe-with.ts";
import { eventually } from "./eventually.ts";

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
      cwd: fileURLToPath(new URL("../..", import.meta.url)),
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = await once(starter.stdout, "data");
    const { pid, logFile } = JSON.parse(String(line));
    expect([isAlive(pid), existsSync(logFile)]).toEqual([true, true]);
    starter.kill("SIGKILL");
    await eventually(() => expect([isAlive(pid), existsSync(logFile)]).toEqual([false, false]));
  });
});
