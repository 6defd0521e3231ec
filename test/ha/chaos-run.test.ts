import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { describeWithPgBouncer, describeWithRedis, describeWithStandby } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import { REPOSITORY } from "../../testkit/repository-copy.ts";
import type { ChaosReport } from "../chaos/run-chaos.ts";

const SEED = 5;
const LIMIT_MS = 600_000;

type Content = ChaosReport & { readonly outcome: string; readonly seconds: number };

/** `npm run chaos -- --ha`, with a mark in the environment of all that it starts. */
async function startRun() {
  const folder = await mkdtemp(join(tmpdir(), "claviger-chaos-"));
  const mark = `CHAOS_RUN=${randomUUID()}`;
  const args = ["--ha", "--minutes", "60", "--agents", "2", "--lease-ms", "1000", "--seed", String(SEED)];
  const { VITEST: _, VITEST_WORKER_ID: __, ...env } = process.env;
  const run = spawn(process.execPath, ["scripts/chaos.ts", ...args, "--report", folder], {
    cwd: REPOSITORY,
    env: { ...env, CHAOS_RUN: mark.split("=")[1] },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  run.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  onTestFinished(async () => {
    run.kill("SIGKILL");
    await rm(folder, { recursive: true });
  });
  const read = async (): Promise<Content> =>
    JSON.parse(await readFile(join(folder, `chaos-${SEED}-sentinel.json`), "utf8"));
  return { run, mark, read, text: () => text };
}

/** Process ids of those that have the mark, but the run itself. */
async function marked(mark: string, { pid }: ChildProcess): Promise<string[]> {
  const ids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name) && name !== String(pid));
  const found = ids.map(async (id) => {
    const environment = await readFile(`/proc/${id}/environ`, "utf8").catch(() => "");
    return environment.split("\0").includes(mark) ? id : undefined;
  });
  return (await Promise.all(found)).filter((id) => id !== undefined);
}

describeWithStandby("npm run chaos -- --ha", () => {
  describeWithRedis("with Redis", () => {
    describeWithPgBouncer("and PgBouncer", () => {
      it.runIf(process.platform === "linux").each(["SIGTERM", "SIGKILL"] as const)(
        "ended by %s in the middle leaves its report and no process",
        async (signal) => {
          const { run, mark, read, text } = await startRun();
          await eventually(
            async () => {
              expect(run.exitCode).toBeNull();
              expect(Object.keys((await read()).strikes ?? {})).not.toEqual([]);
            },
            {
              withinMs: LIMIT_MS / 2,
              everyMs: 500,
              abandonIf: () => (run.exitCode === null ? undefined : new Error(text())),
            },
          );
          await eventually(() => expect(text()).toMatch(/^\d+ s: 0 violations, 0 crashes; \d+ strikes, now /m));
          // Two of Postgres, five of Redis and Sentinel, PgBouncer, three nodes, two agents.
          expect((await marked(mark, run)).length).toBeGreaterThanOrEqual(13);
          run.kill(signal);
          await once(run, "close");
          expect((await read()).outcome).toBe(signal === "SIGKILL" ? "running" : `interrupted by ${signal}`);
          await eventually(async () => expect(await marked(mark, run)).toEqual([]), { withinMs: 60_000 });
        },
        LIMIT_MS,
      );
    });
  });
});
