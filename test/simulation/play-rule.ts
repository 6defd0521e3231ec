import { DIRECTED } from "./directed.ts";
import { RULES } from "./rules.ts";
import { simulate } from "./simulate.ts";

/** The seed with which the promise was broken, and how; `violation` is null where it never was. */
export interface Played {
  readonly seed: number;
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
  const seeds = Array.from({ length: most }, (_, at) => at + 1);
  for (const seed of rule.seed === undefined ? seeds : [rule.seed, ...seeds]) {
    const { violation } = await simulate({ seed, flaws, ...how });
    if (violation?.includes(says)) return { seed, violation };
  }
  return { seed: most, violation: null };
}
