import { median, rounded, spread } from "../harness/bench.ts";
import type { Turn } from "./in-process.ts";
import type { Racer } from "./racers.ts";
import type { SharedStores } from "./stores.ts";

const TURNS = 5;
/** The first turns are for the compiler and are not counted; Claviger's also finds out how many requests a turn takes. */
const WARM_UPS = 2;
const AT_ONCE = 32;
const TURN_MS = 1000;
const ALONE_MS = 400;

interface Measured extends Turn {
  readonly postgresSeconds: number;
  readonly redisSeconds: number;
}

interface Lane {
  readonly name: string;
  readonly together: Measured[];
  readonly alone: Measured[];
}

/** Server CPU per verification, in microseconds, by name, and everything else. */
export async function race(racers: readonly Racer[], stores: SharedStores) {
  const lanes: readonly Lane[] = racers.map(({ name }) => ({ name, together: [], alone: [] }));
  for (let at = -WARM_UPS; at < TURNS; at++) {
    for (const [index, racer] of racers.entries()) {
      const together = await measured(racer, stores, AT_ONCE, TURN_MS);
      const alone = await measured(racer, stores, 1, ALONE_MS);
      if (at < 0) continue;
      lanes[index]?.together.push(together);
      lanes[index]?.alone.push(alone);
    }
  }
  return {
    cpu: Object.fromEntries(lanes.map(({ name, together }) => [name, median(together.map(cpuMicroseconds))])),
    figures: {
      settings: { turns: TURNS, turnMs: TURN_MS, atOnce: AT_ONCE },
      ...Object.fromEntries(lanes.map((lane) => [lane.name, describe(lane)])),
    },
  };
}

async function measured(racer: Racer, stores: SharedStores, atOnce: number, ms: number): Promise<Measured> {
  const before = await stores.cpu();
  const turn = await racer.turn(atOnce, ms);
  const after = await stores.cpu();
  const [postgresSeconds, redisSeconds] = [after.postgres - before.postgres, after.redis - before.redis];
  return { ...turn, postgresSeconds: Math.max(0, postgresSeconds), redisSeconds };
}

function describe({ together, alone }: Lane) {
  const cpus = together.map(cpuMicroseconds);
  const of = (seconds: (turn: Measured) => number) =>
    rounded(median(together.map((turn) => (seconds(turn) / turn.verifications) * 1e6)), 1);
  const microseconds = (turns: readonly Measured[]) =>
    spread(turns.flatMap(({ latencies }) => latencies).map((ms) => ms * 1000));
  return {
    cpuMicroseconds: rounded(median(cpus), 1),
    cpuMicrosecondsOfTurns: cpus.map((value) => rounded(value, 1)),
    ...{
      postgresCpuMicroseconds: of((turn) => turn.postgresSeconds),
      redisCpuMicroseconds: of((turn) => turn.redisSeconds),
    },
    perSecond: rounded(median(together.map(({ verifications, seconds }) => verifications / seconds)), 0),
    latencyMicroseconds: { atOnce32: microseconds(together), oneAtATime: microseconds(alone) },
  };
}

function cpuMicroseconds({ cpuSeconds, verifications }: Turn): number {
  return (cpuSeconds / verifications) * 1e6;
}
