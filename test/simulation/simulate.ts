import type { DatabaseFlaws } from "./database.ts";
import { improvise } from "./improvise.ts";
import { type Counts, Run } from "./run.ts";

export type { Counts, Run };

export interface Scenario {
  readonly seed: number;
  readonly flaws?: DatabaseFlaws;
  /** What is done to this schedule beside, or instead of, what chance does. */
  readonly direct?: (run: Run) => void;
  /** Default true. */
  readonly random?: boolean;
  /** Milliseconds of true time. */
  readonly lastsMs?: number;
}

export interface Outcome {
  readonly violation: string | undefined;
  readonly trace: readonly string[];
  readonly counts: Counts;
}

/** Plays one schedule to its end. */
export async function simulate(scenario: Scenario): Promise<Outcome> {
  const run = new Run(scenario.seed, scenario.flaws ?? {});
  const lastsMs = scenario.lastsMs ?? 5000;
  if (scenario.random ?? true) improvise(run, lastsMs);
  scenario.direct?.(run);
  for (let at = 250; at <= lastsMs && run.violation === undefined; at += 250) await run.world.passUntil(at);
  for (const node of run.nodes) {
    run.counts.discarded += node.cache.counters.discardedFills;
    run.counts.registrations += node.keeper.registrations;
    for (const { expired } of node.outcomes) run.counts[expired > 0 ? "waited" : "acknowledged"] += 1;
  }
  return { violation: run.violation, trace: run.world.trace, counts: run.counts };
}
