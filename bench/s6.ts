import { type Bench, median, rounded } from "./harness/bench.ts";
import { frame, openPlace, warm } from "./harness/claviger.ts";
import { asker, describe, type Turn } from "./harness/verify-turns.ts";

const COUNTS = [1000, 100_000, 1_000_000];
const TURNS = 9;

/** Room for all, for as long as it takes. */
const ROOMY = { CLAVIGER_POLICY: JSON.stringify({ cacheEntries: 1_001_000, cacheEntryMs: 3_600_000 }) };

export const bench: Bench = {
  id: "s6",
  question: "server CPU of a warm Verify with 1,000, 100,000 and 1,000,000 keys in memory",
  reference: "itself with 1,000",
  goal: 1.1,
  async run() {
    const place = await openPlace(Math.max(...COUNTS));
    const turns = new Map<number, Turn[]>(COUNTS.map((count) => [count, []]));
    const asking = new Map<number, () => Promise<Turn>>();
    for (const count of COUNTS) {
      const secrets = place.secrets.slice(0, count);
      const server = await place.serve(ROOMY);
      await warm(server, place.token, secrets);
      asking.set(count, asker(server, place.token, secrets.map(frame)));
    }
    for (let turn = -1; turn < TURNS; turn++) {
      for (const [count, ask] of asking) {
        const measured = await ask();
        if (turn >= 0) turns.get(count)?.push(measured);
      }
    }
    await place.stop();
    const [base = [], ...others] = [...turns.values()];
    const ratioOf = (own: readonly Turn[]) =>
      median(own.map(({ cpuMicroseconds }, at) => cpuMicroseconds / (base[at]?.cpuMicroseconds ?? 0)));
    const figures = Object.fromEntries(
      [...turns].map(([count, own]) => [count, { ...describe(own), ratio: rounded(ratioOf(own)) }]),
    );
    return { ratio: Math.max(...others.map(ratioOf)), figures };
  },
};
