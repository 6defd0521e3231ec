/** `npm run simulate -- --seeds N --seed S`: N schedules from S on, on every core; a violation ends it with its trace. */
import { fork } from "node:child_process";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { type Counts, simulate } from "../test/simulation/simulate.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    seed: { type: "string", default: "1" },
    step: { type: "string", default: "1" },
  },
});
const [seeds, first, step] = [Number(values.seeds), Number(values.seed), Number(values.step)];
const workers = availableParallelism();

if (step === 1 && seeds >= 10_000 && workers > 1) {
  const children = Array.from({ length: workers }, (_, index) =>
    fork(process.argv[1] ?? "", [
      "--seeds",
      `${Math.ceil(seeds / workers)}`,
      "--seed",
      `${first + index}`,
      "--step",
      `${workers}`,
    ]),
  );
  const codes = await Promise.all(
    children.map((child) => new Promise<number>((done) => child.on("exit", (code) => done(code ?? 1)))),
  );
  process.exit(Math.max(...codes));
}

const total: Partial<Record<keyof Counts, number>> = {};
const began = performance.now();
for (let i = 0; i < seeds; i++) {
  const seed = first + i * step;
  const { violation, trace, counts } = await simulate({ seed });
  for (const [name, count] of Object.entries(counts))
    total[name as keyof Counts] = (total[name as keyof Counts] ?? 0) + count;
  if (violation !== undefined) {
    console.log(`seed ${seed}: ${violation}\n${trace.join("\n")}`);
    process.exit(1);
  }
  if ((i + 1) % 20_000 === 0)
    console.log(`${i + 1} seeds, ${Math.round((i + 1) / ((performance.now() - began) / 1000))}/s`);
}
const seconds = (performance.now() - began) / 1000;
console.log(
  JSON.stringify({ seeds, first, step, seedsPerSecond: Math.round(seeds / seconds), violations: 0, ...total }),
);
