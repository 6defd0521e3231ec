import type { StreamFlaws } from "./agents.ts";
import type { Counts } from "./counts.ts";
import type { DatabaseFlaws } from "./database.ts";
import { improvise } from "./improvise.ts";
import { improviseAgents } from "./improvise-agents.ts";
import { improviseWidely } from "./improvise-widely.ts";
import { Run } from "./run.ts";

export type { Run };

/** `wide` has everything that `narrow` has not: rivals, changes of D, failovers, backups, clocks that are set. */
export type Play = "narrow" | "wide";
export const PLAYS: readonly Play[] = ["narrow", "wide"];

export interface Scenario {
  readonly seed: number;
  readonly flaws?: DatabaseFlaws & StreamFlaws;
  /** What is done to this schedule beside, or instead of, what chance does. */
  readonly direct?: (run: Run) => void;
  /** What chance does. Default `narrow`, of which seeds are remembered: without agents: it must not change. */
  readonly play?: Play | "none";
  /** Whether chance also plays with verifiers inside agents. Default: wherever it plays. */
  readonly agents?: "some" | "none";
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
  const play = scenario.play ?? "narrow";
  if (play === "narrow") improvise(run, lastsMs);
  if (play === "wide") improviseWidely(run, lastsMs);
  if (play !== "none" && scenario.agents !== "none") improviseAgents(run, lastsMs);
  scenario.direct?.(run);
  for (let at = 250; at <= lastsMs && run.promises.violation === undefined; at += 250) await run.world.passUntil(at);
  for (const node of run.nodes) {
    run.counts.discarded += node.cache.counters.discardedFills;
    run.counts.registrations += node.keeper.registrations;
    run.counts.reRegistrations += Math.max(0, node.keeper.registrations - 1);
    for (const { expired } of node.outcomes) run.counts[expired > 0 ? "waited" : "acknowledged"] += 1;
  }
  for (const { link } of run.agents.all) run.counts.attachments += link.attachments;
  const { violation } = run.promises;
  if (violation !== undefined) run.world.note(violation);
  // `SyncTurns` asks for an immediate per node. A schedule settles by microtasks alone, so they and the nodes would stay.
  await new Promise((resolve) => setImmediate(resolve));
  return { violation, trace: run.world.trace, counts: run.counts };
}
