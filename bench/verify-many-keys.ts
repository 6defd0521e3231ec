import { type Bench, median, rounded } from "./harness/bench.ts";
import { frame, openPlace, warm } from "./harness/claviger.ts";
import type { BenchServer } from "./harness/processes.ts";
import { PROFILED, profile } from "./harness/profile.ts";
import { asker, describe, REQUESTS, type Turn } from "./harness/verify-turns.ts";

const COUNTS = [1000, 100_000, 1_000_000];
const MOST = Math.max(...COUNTS);
const FEW = Math.min(...COUNTS);
const TURNS = 9;

/** Room for all, for as long as it takes. */
const ROOMY = {
  CLAVIGER_POLICY: JSON.stringify({ verify: { cacheEntries: 1_001_000, cacheEntryMs: 3_600_000 } }),
  ...PROFILED,
};

/** In memory is what is asked. `ofManyStored`: 1,000 that are asked of a million that are stored, against all of 1,000. */
export const bench: Bench = {
  id: "verify-many-keys",
  question: "server CPU of a warm Verify with 1,000, 100,000 and 1,000,000 keys in memory",
  reference: "itself with 1,000",
  goal: 1.1,
  async run() {
    const place = await openPlace(MOST);
    const turns = new Map<number, Turn[]>(COUNTS.map((count) => [count, []]));
    const asking = new Map<number, () => Promise<Turn>>();
    const servers = new Map<number, BenchServer>();
    for (const count of COUNTS) {
      const secrets = place.secrets.slice(0, count);
      const server = await place.serve(ROOMY);
      await warm(server, place.token, secrets);
      servers.set(count, server);
      asking.set(count, asker(server, place.token, secrets.map(frame)));
    }
    const small = await openPlace(FEW);
    const server = await small.serve(ROOMY);
    await warm(server, small.token, small.secrets);
    const askSmall = asker(server, small.token, small.secrets.map(frame));
    const fewStored: Turn[] = [];
    for (let turn = -1; turn < TURNS; turn++) {
      for (const [count, ask] of asking) {
        const measured = await ask();
        if (turn >= 0) turns.get(count)?.push(measured);
      }
      const measured = await askSmall();
      if (turn >= 0) fewStored.push(measured);
    }
    const profiles: Record<number, unknown> = {};
    for (const [count, ask] of asking)
      profiles[count] = await profile(servers.get(count) as BenchServer, REQUESTS, ask);
    await Promise.all([place.stop(), small.stop()]);
    const base = turns.get(FEW) ?? [];
    const others = COUNTS.filter((count) => count !== FEW).map((count) => turns.get(count) ?? []);
    const figures = Object.fromEntries(
      [...turns].map(([count, own]) => [count, { ...describe(own), ratio: rounded(ratioOf(own, base)) }]),
    );
    const ofManyStored = rounded(ratioOf(base, fewStored));
    return {
      ratio: Math.max(...others.map((own) => ratioOf(own, base))),
      figures: { ...figures, ofManyStored, profiles },
    };
  },
};

function ratioOf(own: readonly Turn[], base: readonly Turn[]): number {
  return median(own.map(({ cpuMicroseconds }, at) => cpuMicroseconds / (base[at]?.cpuMicroseconds ?? 0)));
}
