import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { constants, tmpdir } from "node:os";
import { join, matchesGlob } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { findLongTests, LONG_TESTS } from "../../scripts/long-tests.ts";
import type { TestReportContent } from "../../scripts/test-report.ts";
import { eventually } from "../../testkit/eventually.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

const PATIENCE = { withinMs: 60_000 };
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "claviger-report-"));
});
afterEach(() => rm(folder, { recursive: true }));

interface Running {
  /** What it has printed so far. */
  text(): string;
  kill(signal: NodeJS.Signals): void;
  readonly ended: Promise<{ readonly code: unknown; readonly lines: string[] }>;
}

/** Starts `npm test`'s script over the fixtures whose names contain one of `filters`. */
function startTests(filters: readonly string[], settings: Readonly<Record<string, string>> = {}): Running {
  const args = ["scripts/run-tests.ts", "--config", "test/repo/run-tests-fixtures/vitest.config.ts", ...filters];
  const { VITEST: _, VITEST_WORKER_ID: __, ...env } = process.env;
  const child = spawn(process.execPath, args, {
    cwd: ROOT,
    env: { ...env, CLAVIGER_TEST_REQUIRE: "", CLAVIGER_TEST_LONG: "", CLAVIGER_TEST_REPORT: folder, ...settings },
    stdio: ["ignore", "pipe", "ignore"],
  });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  const ended = once(child, "close").then(([code]) => ({ code, lines: text.trimEnd().split("\n") }));
  return { text: () => text, kill: (signal) => void child.kill(signal), ended };
}

function runTests(filters: readonly string[], settings?: Readonly<Record<string, string>>): Running["ended"] {
  return startTests(filters, settings).ended;
}

async function readReport(): Promise<TestReportContent> {
  return JSON.parse(await readFile(join(folder, "report.json"), "utf8"));
}

/** Until one file has failed, and another hangs; resolves with the process of that one. */
async function untilOneHangs({ text }: Running): Promise<number> {
  return eventually(async () => {
    const { failures, running } = await readReport();
    const [, worker] = /worker (\d+)/.exec(text()) ?? [];
    expect([failures.length, running.some(({ tests }) => tests.length > 0), worker]).toEqual([
      1,
      true,
      expect.anything(),
    ]);
    return Number(worker);
  }, PATIENCE);
}

const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

const FAILING = {
  file: "test/repo/run-tests-fixtures/failing.fixture.ts",
  test: "fails",
  message: expect.stringContaining("expected 1 to be 2"),
  at: expect.stringMatching(/^test\/repo\/run-tests-fixtures\/failing\.fixture\.ts:3:\d+$/),
};
const HANGING = {
  file: "test/repo/run-tests-fixtures/hanging.fixture.ts",
  ms: expect.any(Number),
  tests: [{ test: "hangs", ms: expect.any(Number) }],
};

describe("npm test", () => {
  test("ends with the counts alone on a line, and with 0 when all passed", async () => {
    const { code, lines } = await runTests(["passing"]);
    expect([code, lines.at(-1)]).toEqual([0, "1 passed, 0 failed"]);
  });

  test("fails when a test fails or a file cannot be loaded", async () => {
    const { code, lines } = await runTests(["passing", "failing", "broken"]);
    expect([code, lines.at(-1)]).toEqual([1, "1 passed, 2 failed"]);
  });

  test("names the suites that were not run, with what to install", async () => {
    const { code, lines } = await runTests(["passing", "needing"]);
    expect([code, lines.at(-1)]).toEqual([0, "1 passed, 0 failed, 2 skipped"]);
    expect(lines.filter((line) => line.startsWith("not run: "))).toEqual([
      expect.stringMatching(/needing\.fixture\.ts > rows — install PostgreSQL/),
      expect.stringMatching(/needing\.fixture\.ts > counters — install Redis/),
    ]);
  });

  test("counts a suite that was not run as failed where its service is required", async () => {
    const { code, lines } = await runTests(["passing", "needing"], { CLAVIGER_TEST_REQUIRE: "postgres,redis" });
    expect([code, lines.at(-1)]).toEqual([1, "1 passed, 2 failed, 2 skipped"]);
  });

  test("names the files that take long and were left out, and leaves none out in CI", async () => {
    const only = ["--testNamePattern=^passes$"];
    const notRun = ({ lines }: { lines: readonly string[] }) =>
      lines.flatMap((line) => /^not run: (\S+\.test\.ts) — takes long; CLAVIGER_TEST_LONG=1/.exec(line)?.[1] ?? []);
    expect(notRun(await runTests(only))).toEqual(findLongTests());
    expect(notRun(await runTests(only, { CLAVIGER_TEST_LONG: "1" }))).toEqual([]);
    expect(notRun(await runTests(["passing"]))).toEqual([]);
    expect(findLongTests()).toContain("test/cluster/chaos.test.ts");
  });

  test("names no file as long that is not there", () => {
    const missing = LONG_TESTS.filter((pattern) => !findLongTests().some((file) => matchesGlob(file, pattern)));
    expect(missing).toEqual([]);
  });

  test("fails when no test was executed", async () => {
    expect((await runTests(["needing"])).code).toBe(1);
    const nothing = await runTests(["no-such-file"]);
    expect([nothing.code, nothing.lines.at(-1)]).toEqual([1, "0 passed, 1 failed"]);
  });
});

describe("the report of npm test", () => {
  test("says what failed, why and where, and how long each file took", async () => {
    await runTests(["passing", "failing", "broken"]);
    const report = await readReport();
    expect(report).toMatchObject({ outcome: "failed", running: [], notStarted: [] });
    expect(report.failures).toContainEqual(FAILING);
    expect(report.failures).toContainEqual({
      file: "test/repo/run-tests-fixtures/broken.fixture.ts",
      message: expect.stringContaining("this file cannot be loaded"),
      at: expect.stringContaining("broken.fixture.ts:1"),
    });
    expect(report.files.map(({ ms }) => ms)).toEqual([1, 2, 3].map(() => expect.any(Number)));
    expect(await readFile(join(folder, "report.txt"), "utf8")).toMatch(
      /FAILED .*failing\.fixture\.ts > fails\n {2}Asser/,
    );
  });

  test("names an error that no test awaited", async () => {
    const { code } = await runTests(["unheard"]);
    const { outcome, failures } = await readReport();
    expect([code, outcome]).toEqual([1, "failed"]);
    expect(failures).toEqual([
      expect.objectContaining({
        message: expect.stringContaining("seed 4711 was not heard"),
        at: expect.stringContaining("unheard.fixture.ts:4"),
      }),
    ]);
  });

  test.each(["SIGTERM", "SIGINT", "SIGHUP"] as const)(
    "after %s in the middle says what ran, on disk and on the screen, and leaves no process behind",
    async (signal) => {
      const running = startTests(["passing", "failing", "hanging"]);
      const worker = await untilOneHangs(running);
      running.kill(signal);
      const { code, lines } = await running.ended;
      expect(code).toBe(128 + constants.signals[signal]);
      expect(await readReport()).toMatchObject({
        outcome: `interrupted by ${signal}`,
        failures: [FAILING],
        running: expect.arrayContaining([HANGING]),
      });
      const text = lines.join("\n");
      expect(text).toContain(`test run interrupted by ${signal} after`);
      expect(text).toMatch(/FAILED .*failing\.fixture\.ts > fails/);
      expect(text).toMatch(/running:[\s\S]*\n {2}.*hanging\.fixture\.ts for [\d.]+ s\n {4}hangs for/);
      await eventually(() => expect(isAlive(worker)).toBe(false), PATIENCE);
    },
  );

  test("is on disk after SIGKILL, and the next run keeps it", async () => {
    const running = startTests(["passing", "failing", "hanging"]);
    const worker = await untilOneHangs(running);
    running.kill("SIGKILL");
    await running.ended;
    expect(await readReport()).toMatchObject({
      outcome: "running",
      failures: [FAILING],
      running: expect.arrayContaining([HANGING]),
    });
    await eventually(() => expect(isAlive(worker)).toBe(false), PATIENCE);
    await runTests(["passing"]);
    expect(await readFile(join(folder, "previous.txt"), "utf8")).toContain("failing.fixture.ts > fails");
    expect(await readReport()).toMatchObject({ outcome: "passed", failures: [] });
  });
});
