import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Runs `npm test`'s script over the fixtures whose names contain one of `filters`. */
async function runTests(filters: readonly string[], require = ""): Promise<{ code: unknown; lines: string[] }> {
  const args = ["scripts/run-tests.ts", "--config", "test/repo/run-tests-fixtures/vitest.config.ts", ...filters];
  const { VITEST: _, VITEST_WORKER_ID: __, ...env } = process.env;
  const child = spawn(process.execPath, args, {
    cwd: ROOT,
    env: { ...env, CLAVIGER_TEST_REQUIRE: require },
    stdio: ["ignore", "pipe", "ignore"],
  });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  const [code] = await once(child, "close");
  return { code, lines: text.trimEnd().split("\n") };
}

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
    const { code, lines } = await runTests(["passing", "needing"], "postgres,redis");
    expect([code, lines.at(-1)]).toEqual([1, "1 passed, 2 failed, 2 skipped"]);
  });

  test("fails when no test was executed", async () => {
    expect((await runTests(["needing"])).code).toBe(1);
    const nothing = await runTests(["no-such-file"]);
    expect([nothing.code, nothing.lines.at(-1)]).toEqual([1, "0 passed, 1 failed"]);
  });
});
