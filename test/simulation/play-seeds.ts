import { expect } from "vitest";
import { addCounts, noCounts } from "./counts.ts";
import { type Play, type Scenario, simulate } from "./simulate.ts";

/** Seeds that CI plays, of each play; `npm test` plays the first third. */
export const SEEDS = 900;
export const FIRST_SEEDS = SEEDS / 3;
/** A run in which nothing happens shows nothing: the least of everything that happens, per seed. */
const LEAST_PER_SEED = 1 / 110;

export const PLAYED: readonly (readonly [what: string, play: Play])[] = [
  ["among three nodes and agents that lease from them, of which anything breaks", "narrow"],
  ["among rivals, through changes of D, failovers, backups and clocks that are set", "wide"],
];

/** Plays the seeds from `first` to below `end`, and some remembered ones without agents; fails at a violation. */
export async function playSeeds(
  play: Play,
  { first, end, remembered = [] }: { first: number; end: number; remembered?: readonly number[] },
): Promise<void> {
  const total = noCounts();
  const schedules: readonly Scenario[] = [
    ...remembered.map((seed) => ({ seed, agents: "none" as const })),
    ...Array.from({ length: end - first }, (_, index) => ({ seed: first + index })),
  ];
  for (const { seed, ...how } of schedules) {
    const { violation, trace, counts } = await simulate({ seed, ...how, play });
    expect(violation, `seed ${seed}\n${trace.join("\n")}`).toBeUndefined();
    addCounts(total, counts);
  }
  const least = (end - first) * LEAST_PER_SEED;
  for (const [name, count] of Object.entries(total)) expect(count, name).toBeGreaterThan(least);
}
