/** `node run-rule.ts SEEDS [SCHEDULE]`: plays schedules until one breaks the promise; prints after how many, and which. */
import { DIRECTED } from "./directed.ts";
import { simulate } from "./simulate.ts";

const [, , most = "1000", schedule] = process.argv;
const direct = schedule === undefined ? undefined : DIRECTED[schedule];
if (schedule !== undefined && direct === undefined) throw new Error(`no schedule is called ${schedule}`);
const began = performance.now();
for (let seed = 1; seed <= Number(most); seed++) {
  const { violation } = await simulate({ seed, ...(direct === undefined ? {} : { direct, random: false }) });
  if (violation === undefined) continue;
  console.log(JSON.stringify({ seeds: seed, seconds: (performance.now() - began) / 1000, violation }));
  process.exit(0);
}
console.log(JSON.stringify({ seeds: Number(most), seconds: (performance.now() - began) / 1000, violation: null }));
