import { createHash } from "node:crypto";
import pg from "pg";
import { type Bench, median, rounded, spread } from "./harness/bench.ts";
import { frame, openPlace } from "./harness/claviger.ts";
import { load } from "./harness/load.ts";
import { VERIFY_PATH } from "./harness/verify-turns.ts";

const KEYS = 1_000_000;
const TURNS = 9;
const PER_TURN = 400;
const AT_ONCE = 32;
const SELECT = `select k.*, s.version, s.expire_time, s.retire_time, clock_timestamp() as now
  from secret_version s join api_key k on k.id = s.key_id where s.digest = $1`;

export const bench: Bench = {
  id: "cold-verify",
  question: "a Verify of a secret that is not in memory, one after the other, with 1,000,000 keys stored",
  reference: "the indexed SELECT alone, through the same driver",
  goal: 2,
  async run() {
    const place = await openPlace(KEYS);
    const server = await place.serve();
    const pool = new pg.Pool({ connectionString: place.env.DATABASE_URL, max: 10 });
    const { rows } = await pool.query<{ digest: Buffer }>("select digest from secret_version limit $1", [
      TURNS * PER_TURN * 4,
    ]);
    const call = (first: number, atOnce: number) =>
      load({
        ...{ url: server.url, path: VERIFY_PATH, headers: { authorization: `Bearer ${place.token}` } },
        ...{ requests: PER_TURN, connections: 1, streams: atOnce },
        body: (at) => frame(place.secrets[(first + at) * 7] as string),
      });
    let taken = 0;
    /** Secrets that no client has asked about; `again`: the same, which are in memory now. */
    const verify = async (atOnce: number) => {
      const first = taken;
      taken += PER_TURN;
      return { ...(await call(first, atOnce)), again: () => call(first, atOnce) };
    };
    let selected = 0;
    const select = async (atOnce: number) => {
      const began = performance.now();
      const latencies: number[] = [];
      const work = async () => {
        while (latencies.length < PER_TURN) {
          const from = performance.now();
          await pool.query(SELECT, [rows[selected++ % rows.length]?.digest ?? createHash("sha256").digest()]);
          latencies.push(performance.now() - from);
        }
      };
      await Promise.all(Array.from({ length: atOnce }, work));
      return { latencies, seconds: (performance.now() - began) / 1000 };
    };
    const one = { verify: [] as number[], warm: [] as number[], select: [] as number[], ratios: [] as number[] };
    const many: number[] = [];
    for (let turn = -1; turn < TURNS; turn++) {
      const [own, other] = [await verify(1), await select(1)];
      const warm = await own.again();
      const [ownMany, otherMany] = [await verify(AT_ONCE), await select(AT_ONCE)];
      if (own.failures + ownMany.failures > 0) throw new Error("some calls failed");
      if (turn < 0) continue;
      one.verify.push(...own.latencies);
      one.warm.push(...warm.latencies);
      one.select.push(...other.latencies);
      one.ratios.push(median([...own.latencies]) / median(other.latencies));
      many.push(ownMany.seconds / otherMany.seconds);
    }
    await pool.end();
    await place.stop();
    const figures = {
      ...{ keys: KEYS, turns: TURNS, requestsPerTurn: PER_TURN },
      oneAfterTheOther: { verifyMs: spread(one.verify), warmMs: spread(one.warm), selectMs: spread(one.select) },
      // The extra time of the same call when the secret is not in memory.
      ratioOfTheRest: rounded((median(one.verify) - median(one.warm)) / median(one.select)),
      timeOfManyAtOnce: { atOnce: AT_ONCE, ratio: rounded(median(many)) },
    };
    return { ratio: median(one.ratios), figures };
  },
};
