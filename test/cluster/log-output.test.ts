import { closeSync, openSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { connect } from "../../testkit/claviger.ts";
import { eventually } from "../../testkit/eventually.ts";
import { endWithin, spawnGuarded } from "../../testkit/guarded-process.ts";
import { inheritedEnv } from "../../testkit/server-process.ts";

const BIN = fileURLToPath(new URL("../../bin/claviger.js", import.meta.url));
const START_MS = 30_000;
const STOP_MS = 15_000;

/** Starts an embedded server whose log goes to `log`, calls it, stops it; returns its exit code. */
async function callServer(log: number | "pipe", { isKept = false, calls = 3 } = {}): Promise<number | null> {
  const folder = await mkdtemp(join(tmpdir(), "claviger-log-output-"));
  const env = { ...inheritedEnv(), CLAVIGER_LISTEN: "127.0.0.1:0", CLAVIGER_DATA_DIR: join(folder, "data") };
  const server = await spawnGuarded({
    command: process.execPath,
    args: [BIN, "serve"],
    spawn: { stdio: ["ignore", "pipe", log], env },
  });
  try {
    // The reader of the log leaves; or it stays, and reads nothing.
    if (!isKept) server.child.stderr?.destroy();
    let stdout = "";
    server.child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    const found = (pattern: RegExp) =>
      eventually(() => pattern.exec(stdout)?.[1] ?? Promise.reject(new Error(stdout)), { withinMs: START_MS });
    const url = await found(/listening on (http:\/\/\S+:\d+)/);
    const { keys } = connect(url, await found(/admin key: (\S+)/));
    for (let call = 0; call < calls; call++) {
      await expect(keys.getKey({ keyId: "none" })).rejects.toThrow();
    }
    server.child.kill("SIGTERM");
    await endWithin(server, STOP_MS);
    return server.child.exitCode;
  } finally {
    server.child.kill("SIGKILL");
    await server.exited;
    await rm(folder, { recursive: true, force: true });
  }
}

describe("a server whose log cannot be written answers, and stops when it is told to", { timeout: 60_000 }, () => {
  it.runIf(process.platform === "linux")("on a full disk", async () => {
    const full = openSync("/dev/full", "w");
    expect(await callServer(full)).toBe(0);
    closeSync(full);
  });

  it("after the reader of a pipe has gone", async () => {
    expect(await callServer("pipe")).toBe(0);
  });

  it("while the reader of a pipe reads nothing", async () => {
    expect(await callServer("pipe", { isKept: true, calls: 1500 })).toBe(0);
  });
});
