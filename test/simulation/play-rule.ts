import { DIRECTED } from "./directed.ts";
import { RULES } from "./rules.ts";
import { simulate } from "./simulate.ts";

/** After how many seeds the promise was broken, and how; `violation` is null where it never was. */
export interface Played {
  readonly seeds: number;
  readonly seconds: number;
  readonly violation: string | null;
}

/** Plays schedules without that rule until one breaks the promise; what it lacks of the product's source is not its affair. */
export async function playRule(id: string, most: number): Promise<Played> {
  const rule = RULES.find((one) => one.id === id);
  if (rule === undefined) throw new Error(`no rule is called ${id}`);
  const { schedule, flaws = {}, says = "is VALID" } = rule;
  const direct = schedule === undefined ? undefined : DIRECTED[schedule];
  if (schedule !== undefined && direct === undefined) throw new Error(`no schedule is called ${schedule}`);
  const how = direct === undefined ? {} : { direct, play: "none" as const };
  const began = performance.now();
  let seeds = 0;
  let violation: string | null = null;
  while (violation === null && seeds < most) {
    seeds += 1;
    const outcome = await simulate({ seed: seeds, flaws, ...how });
    if (outcome.violation?.includes(says)) violation = outcome.violation;
  }
  return { seeds, seconds: (performance.now() - began) / 1000, violation };
}
