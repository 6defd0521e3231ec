import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { TEST_ROOT_SECRET } from "../../testkit/claviger.ts";
import { createTestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import type { Mutation } from "../../testkit/mutation.ts";
import { type ServerProcess, startServer } from "../../testkit/server-process.ts";
import { takeUnheard } from "../../testkit/unheard.ts";

const SECRET = `clv_live_${"5".repeat(52)}`;
const ERROR = `new Error("boom ${SECRET} at postgres://claviger:hunter2@db/x", { cause: new Error("its cause") })`;
const THROWN = `throw ${ERROR}`;
const REJECTED = `void Promise.reject(${ERROR})`;

/** Has the server run `code` soon after it has started. */
const defect = (code: string): Mutation => ({
  file: "src/system/timers.ts",
  find: "  const timer = setInterval(() => {",
  replace: `  setTimeout(() => {\n${code};\n}, 300);\n  const timer = setInterval(() => {`,
});

let folder: string;
let server: ServerProcess | undefined;
const closing: (() => unknown)[] = [];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "claviger-"));
});
afterEach(async () => {
  await server?.stop();
  for (const close of closing.splice(0).reverse()) await close();
  await rm(folder, { recursive: true, force: true });
});

async function start(mutation: Mutation, env: Record<string, string> = { CLAVIGER_DATA_DIR: folder }) {
  server = await startServer({ env, mutate: [mutation], hasDefects: true });
  return server;
}

function linesOf({ stderr }: ServerProcess, event: string) {
  return stderr()
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line))
    .filter((line) => line.event === event);
}

describe("an error that no code of a server handles", () => {
  it.each([
    ["uncaughtException", THROWN],
    ["unhandledRejection", REJECTED],
  ])("of the kind %s ends it with 70, and one line says what it was, without secrets", async (kind, code) => {
    const running = await start(defect(code));
    expect((await running.exited).code).toBe(70);
    const [line, ...others] = linesOf(running, "defect");
    expect(line).toMatchObject({ level: "fatal", kind });
    expect(line.stack).toMatch(/boom[\s\S]+timers\.ts[\s\S]+caused by Error: its cause/);
    expect([others, linesOf(running, "started").length]).toEqual([[], 1]);
    expect(running.stderr()).not.toMatch(/5555555555|hunter2/);
  });

  it("is shown though the log is off", async () => {
    const running = await start(defect(THROWN), { CLAVIGER_DATA_DIR: folder, CLAVIGER_LOG_LEVEL: "silent" });
    expect((await running.exited).code).toBe(70);
    expect(running.stderr()).toMatch(/^error: a defect ends this process; please report it: Error: boom/m);
  });
});

describeWithPostgres("an error that no code of a worker handles", () => {
  it("ends that worker with 70, and another takes its place", async () => {
    const database = await createTestDatabase();
    closing.push(() => database.drop());
    const mark = JSON.stringify(join(folder, "once"));
    const once = `const { openSync, closeSync } = process.getBuiltinModule("node:fs");
      try { closeSync(openSync(${mark}, "wx")); } catch { return; }`;
    const running = await start(defect(`${once} ${THROWN}`), {
      ...{ DATABASE_URL: database.url, CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET, CLAVIGER_WORKERS: "2" },
    });
    await eventually(() => expect(linesOf(running, "worker")).toMatchObject([{ code: 70 }]));
    await eventually(() => expect(linesOf(running, "started")).toHaveLength(3));
    expect(linesOf(running, "defect")).toHaveLength(1);
    expect(await running.stop()).toBe(0);
  });
});

describe("the suite", () => {
  it("notes what no code of a server handles, though its test does not look", async () => {
    server = await startServer({
      env: { CLAVIGER_DATA_DIR: folder },
      mutate: [defect(`process.emitWarning("careful"); ${REJECTED}`)],
    });
    await server.exited;
    expect(takeUnheard()).toMatch(
      /^warning in process \d+: Warning: careful[\s\S]+^unhandledRejection in process \d+: Error: boom/m,
    );
  });
});
