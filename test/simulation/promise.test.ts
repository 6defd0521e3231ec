import { expect, it } from "vitest";
import { addCounts, noCounts } from "./counts.ts";
import { type Play, simulate } from "./simulate.ts";

const SEEDS = 3000;
/** What was found with some rule missing once, or by a longer run. */
const REMEMBERED = [1106, 1416, 1_270_561, 1_270_956];

it.each([
  ["among three nodes of which anything breaks", "narrow", REMEMBERED],
  ["among rivals, through changes of D, failovers, backups and clocks that are set", "wide", [10_044_180]],
] as const)(
  "once a change that narrows was answered, no verification that begins afterwards says VALID, %s",
  async (_, play: Play, remembered: readonly number[]) => {
    const total = noCounts();
    for (const seed of [...remembered, ...Array.from({ length: SEEDS }, (_, index) => index)]) {
      const { violation, trace, counts } = await simulate({ seed, play });
      expect(violation, `seed ${seed}\n${trace.join("\n")}`).toBeUndefined();
      addCounts(total, counts);
    }
    // A run in which nothing happens shows nothing.
    for (const [name, count] of Object.entries(total)) expect(count, name).toBeGreaterThan(100);
  },
  120_000,
);
