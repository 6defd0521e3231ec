/** `node run-rule.ts SEEDS ID`: plays schedules without that rule until one breaks the promise; prints after how many. */
import { DIRECTED } from "./directed.ts";
import { RULES } from "./rules.ts";
import { simulate } from "./simulate.ts";

const [, , most = "1000", id] = process.argv;
const rule = RULES.find((one) => one.id === id);
if (rule === undefined) throw new Error(`no rule is called ${id}`);
const { schedule, flaws = {}, says = "is VALID" } = rule;
const direct = schedule === undefined ? undefined : DIRECTED[schedule];
if (schedule !== undefined && direct === undefined) throw new Error(`no schedule is called ${schedule}`);
const began = performance.now();
let [seeds, caught]: [number, string | null] = [0, null];
while (caught === null && seeds < Number(most)) {
  seeds += 1;
  const how = direct === undefined ? {} : { direct, play: "none" as const };
  const { violation } = await simulate({ seed: seeds, flaws, ...how });
  if (violation?.includes(says)) caught = violation;
}
console.log(JSON.stringify({ seeds, seconds: (performance.now() - began) / 1000, violation: caught }));
