/**
 * `npm run chaos -- [--minutes N] [--ha] [--redis sentinel|cluster] [--seed S] [--lease-ms D] [--agents N]
 * [--on-database-loss deny|revocation-set] [--report FOLDER]`
 *
 * With `--ha`, Postgres is a pair and reads go through PgBouncer, Redis has Sentinels or is a cluster, and all of them
 * fail over. A line each ten seconds shows the progress. The report is on disk from the beginning. An interrupt ends
 * every process that the run started, and keeps the report.
 */
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type ChaosProgress, runChaos } from "../test/chaos/run-chaos.ts";

const SHOW_EVERY_MS = 10_000;

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "3" },
    ha: { type: "boolean", default: false },
    redis: { type: "string", default: "sentinel" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    "lease-ms": { type: "string", default: "3000" },
    "on-database-loss": { type: "string", default: "deny" },
    agents: { type: "string", default: "16" },
    report: { type: "string", default: fileURLToPath(new URL("../node_modules/.cache/chaos", import.meta.url)) },
  },
});
const seed = Number(values.seed);
const began = performance.now();
const file = join(values.report, `chaos-${seed}${values.ha ? `-${values.redis}` : ""}.json`);
mkdirSync(values.report, { recursive: true });
console.log(`seed ${seed}; report: ${file}`);

let look: (() => ChaosProgress) | undefined;

function write(outcome: string, error?: unknown): void {
  const seconds = Math.round((performance.now() - began) / 1000);
  const failure = error === undefined ? {} : { error: error instanceof Error ? error.stack : String(error) };
  const { nemesis, report } = look?.() ?? {};
  const content = { outcome, seed, seconds, arguments: process.argv.slice(2), nemesis, ...failure, ...report };
  writeFileSync(`${file}.new`, `${JSON.stringify(content, null, 2)}\n`);
  renameSync(`${file}.new`, file);
}

function show(): void {
  write("running");
  const progress = look?.();
  if (progress === undefined) return;
  const { counts, agents, violations, crashes, strikes } = progress.report;
  const struck = Object.values(strikes).reduce((sum, { strikes: count }) => sum + count, 0);
  const line = [
    `${Math.round((performance.now() - began) / 1000)} s: ${violations.length} violations, ${crashes.length} crashes`,
    `${struck} strikes, now ${progress.nemesis}`,
    `${counts.narrowed} revocations, ${counts.verifies} verifications (${counts.undecided} undecided)`,
    `${agents.verifies} by agents (${agents.fromMemory} from memory)`,
  ];
  console.log(line.join("; "));
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => {
    write(`interrupted by ${signal}`);
    console.log(`interrupted by ${signal}; report: ${file}`);
    // All started processes end with this process.
    process.exit(128 + constants.signals[signal]);
  });
}

write("starting");
const showing = setInterval(show, SHOW_EVERY_MS);
try {
  const report = await runChaos({
    ...{ seed, seconds: Number(values.minutes) * 60, nodes: 3, joining: 2, leaseMs: Number(values["lease-ms"]) },
    agents: Number(values.agents),
    standbys: values.ha ? (values.redis === "cluster" ? "cluster" : "sentinel") : undefined,
    onDatabaseLoss: values["on-database-loss"] === "revocation-set" ? "revocation-set" : "deny",
    onStart: (own) => {
      look = own;
    },
  });
  clearInterval(showing);
  const failed = report.violations.length > 0 || report.crashes.length > 0 || report.isVoidBecause.length > 0;
  write(failed ? "failed" : "passed");
  console.log(JSON.stringify({ seed, ...report }, null, 2));
  process.exit(failed ? 1 : 0);
} catch (error) {
  write("broken", error);
  console.error(error);
  process.exit(1);
}
