import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Bench, median, rounded, spread } from "./harness/bench.ts";
import { residentMegabytes } from "./harness/processes.ts";

const TURNS = 7;
const REPOSITORY = fileURLToPath(new URL("..", import.meta.url));
/** The minimum of a program that keeps its data in PGlite. */
const BARE = `import { PGlite } from "@electric-sql/pglite";
const database = await PGlite.create(process.argv[1]);
await database.query("select 1");
console.log("listening on nothing");
setInterval(() => undefined, 1000);`;

export const bench: Bench = {
  id: "first-start",
  question: "`npm start` with an empty folder, until it listens",
  reference: "a bare PGlite that opens an existing folder",
  goal: 3,
  async run() {
    const folders = await Promise.all(
      Array.from({ length: TURNS + 1 }, () => mkdtemp(join(tmpdir(), "claviger-start-"))),
    );
    const first: Started[] = [];
    const again: Started[] = [];
    const bare: Started[] = [];
    for (const [turn, folder] of folders.entries()) {
      const serve = ["start", "--", "--listen", "127.0.0.1:0", "--data-dir", folder];
      const measured = [
        await start("npm", serve),
        await start("npm", serve),
        await start(process.execPath, ["--input-type=module", "-e", BARE, join(folder, "database")]),
      ] as const;
      if (turn === 0) continue;
      first.push(measured[0]);
      again.push(measured[1]);
      bare.push(measured[2]);
    }
    await Promise.all(folders.map((folder) => rm(folder, { recursive: true })));
    const figures = {
      turns: TURNS,
      ...{ firstStart: describe(first), laterStart: describe(again), barePglite: describe(bare) },
      laterStartRatio: rounded(median(again.map(({ ms }, at) => ms / (bare[at]?.ms ?? 0)))),
    };
    return { ratio: median(first.map(({ ms }, at) => ms / (bare[at]?.ms ?? 0))), figures };
  },
};

interface Started {
  readonly ms: number;
  readonly megabytes: number;
}

function describe(started: readonly Started[]) {
  const residentMegabytes = rounded(median(started.map(({ megabytes }) => megabytes)), 0);
  return { readyMs: spread(started.map(({ ms }) => ms)), residentMegabytes };
}

/** The process at the end of the line: npm starts a shell, and that the server. */
function youngest(pid: number): number {
  const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ");
  return child === undefined || child === "" ? pid : youngest(Number(child));
}

/** Runs until it prints that it listens, then gets the signal to end. */
function start(command: string, args: readonly string[]): Promise<Started> {
  const began = performance.now();
  const child = spawn(command, args, { cwd: REPOSITORY, stdio: ["ignore", "pipe", "ignore"] });
  return new Promise((resolve, reject) => {
    let started: Started | undefined;
    child.stdout.on("data", (text: Buffer) => {
      if (started !== undefined || !text.includes("listening on")) return;
      started = { ms: performance.now() - began, megabytes: residentMegabytes(youngest(child.pid ?? 0)) };
      child.kill("SIGTERM");
    });
    child.on("exit", () => (started === undefined ? reject(new Error("it did not start")) : resolve(started)));
  });
}
