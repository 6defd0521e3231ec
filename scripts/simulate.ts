/**
 * `npm run simulate -- --seeds N --seed S [--play narrow|wide]`: runs N schedules from S on, of every play unless one
 * is named, on every core. A violation ends the run with its seed and trace, and exit code 1.
 */
import { type ChildProcess, fork } from "node:child_process";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { addCounts, type Counts, noCounts } from "../test/simulation/counts.ts";
import { PLAYS, type Play, simulate } from "../test/simulation/simulate.ts";

/** Below this number a second process costs more than it saves. */
const MANY_SEEDS = 4000;
const REPORT_EVERY = 20_000;

interface Share {
  readonly schedules: number;
  readonly cpuSeconds: number;
  readonly counts: Counts;
}

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    seed: { type: "string", default: "1" },
    step: { type: "string", default: "1" },
    play: { type: "string" },
  },
});
const [seeds, first, step] = [Number(values.seeds), Number(values.seed), Number(values.step)];
if (![seeds, first, step].every(Number.isInteger)) throw new Error("--seeds and --seed take whole numbers");
const plays = PLAYS.filter((play) => values.play === undefined || play === values.play);
if (plays.length === 0) throw new Error(`--play is one of ${PLAYS.join(", ")}`);

/** Plays this process' share; undefined after a violation. */
async function play(): Promise<Share | undefined> {
  const counts = noCounts();
  const began = performance.now();
  let schedules = 0;
  for (let seed = first; seed < first + seeds; seed += step) {
    for (const one of plays) {
      schedules += 1;
      if (!(await holds(seed, one, counts))) return undefined;
      if (schedules % REPORT_EVERY === 0)
        console.log(`${schedules} schedules, ${Math.round((schedules * 1000) / (performance.now() - began))}/s`);
    }
  }
  const { user, system } = process.cpuUsage();
  return { schedules, cpuSeconds: (user + system) / 1_000_000, counts };
}

async function holds(seed: number, one: Play, counts: Counts): Promise<boolean> {
  const played = await simulate({ seed, play: one });
  addCounts(counts, played.counts);
  if (played.violation === undefined) return true;
  console.log(`seed ${seed}, play ${one}: ${played.violation}\n${played.trace.join("\n")}`);
  console.log(`repeat it: npm run simulate -- --seeds 1 --seed ${seed} --play ${one}`);
  return false;
}

/** One process per core, each with every n-th seed. The first violation ends all. */
async function share(workers: number): Promise<readonly (Share | undefined)[]> {
  const children: ChildProcess[] = Array.from({ length: workers }, (_, index) =>
    fork(process.argv[1] ?? "", [
      ...["--seeds", `${seeds - index}`, "--seed", `${first + index}`, "--step", `${workers}`],
      ...(values.play === undefined ? [] : ["--play", values.play]),
    ]),
  );
  const shares = children.map((child) => {
    const { promise, resolve } = Promise.withResolvers<Share | undefined>();
    let played: Share | undefined;
    child.on("message", (message) => {
      played = message as Share;
    });
    child.on("exit", () => {
      resolve(played);
      if (played === undefined) for (const other of children) other.kill();
    });
    return promise;
  });
  return Promise.all(shares);
}

const began = performance.now();
const workers = step === 1 && seeds >= MANY_SEEDS ? availableParallelism() : 1;
const shares = workers > 1 ? await share(workers) : [await play()];
const total = noCounts();
let [schedules, cpuSeconds] = [0, 0];
for (const part of shares) {
  if (part === undefined) process.exit(1);
  addCounts(total, part.counts);
  schedules += part.schedules;
  cpuSeconds += part.cpuSeconds;
}
if (process.send !== undefined) process.send({ schedules, cpuSeconds, counts: total });
else {
  const perSecond = Math.round((schedules * 1000) / (performance.now() - began));
  const perCpuSecond = Math.round(schedules / cpuSeconds);
  console.log(JSON.stringify({ seeds, first, plays, schedules, perSecond, perCpuSecond, violations: 0, ...total }));
}
