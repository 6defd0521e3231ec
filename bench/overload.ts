import { setTimeout as pause } from "node:timers/promises";
import { type Bench, median, rounded } from "./harness/bench.ts";
import { type BenchPlace, frame, openPlace, warm } from "./harness/claviger.ts";
import { type Offered, offer } from "./harness/offer.ts";
import { residentMegabytes } from "./harness/processes.ts";

/** Asked in turn: what comes again has left memory, which holds half as many. */
const KEYS = 200_000;
const WARM_KEYS = 10_000;
/** In one alone a pause of the machine, or of garbage collection, may be the p99. */
const ROUNDS = 7;
const SECONDS = 3;
/** Code that is not compiled yet distorts the capacity. */
const WARM_UP = { perSecond: 1000, seconds: 3 };
/** A share of the measured capacity. */
const QUIET = 0.25;
const OVERLOAD = 2;
const CONNECTIONS = 16;
/** Shares of the last measured capacity: the machine may be faster or slower than it was then. */
const AROUND = [0.8, 1, 1.25];
/** Until what was counted of the calls before is folded: that takes Postgres' time. */
const SETTLE_MS = 2500;

interface Scenario {
  readonly contentType: string;
  readonly isWarm: boolean;
}

const SCENARIOS: Readonly<Record<string, Scenario>> = {
  "not in memory, past the router": { contentType: "application/grpc+proto", isWarm: false },
  "in memory, through the router": { contentType: "application/grpc-web+proto", isWarm: true },
};

export const bench: Bench = {
  id: "overload",
  question: "p99 of the calls that are accepted at twice the capacity",
  reference: "p99 at a quarter of the capacity",
  goal: 5,
  async run() {
    const place = await openPlace(KEYS);
    const figures: Record<string, unknown> = {};
    const ratios: number[] = [];
    for (const [name, scenario] of Object.entries(SCENARIOS)) {
      const { ratio, ...found } = await overload(place, scenario);
      ratios.push(ratio);
      figures[name] = { ratio: rounded(ratio), ...found };
    }
    await place.stop();
    return { ratio: Math.max(...ratios), figures };
  },
};

type Send = (perSecond: number, seconds: number) => Promise<Offered>;

interface Round {
  /** Calls a second. */
  readonly capacity: number;
  readonly quiet: Offered;
  readonly crowded: Offered;
}

async function overload(place: BenchPlace, { contentType, isWarm }: Scenario) {
  const server = await place.serve();
  const secrets = isWarm ? place.secrets.slice(0, WARM_KEYS) : place.secrets;
  const bodies = secrets.map(frame);
  if (isWarm) await warm(server, place.token, secrets);
  let sent = 0;
  const send: Send = (perSecond, seconds) => {
    const from = sent;
    sent += perSecond * seconds;
    return offer({
      ...{ url: server.url, token: place.token, contentType, connections: CONNECTIONS, perSecond, seconds },
      body: (call) => bodies[(from + call) % bodies.length] as Buffer,
    });
  };
  await send(WARM_UP.perSecond, WARM_UP.seconds);
  let capacity = await findCapacity(send);
  const before = residentMegabytes(server.pid);
  const rounds: Round[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    await pause(SETTLE_MS);
    capacity = await mostAnswered(AROUND, capacity, send);
    await pause(SETTLE_MS);
    const quiet = await send(Math.round(capacity * QUIET), SECONDS);
    rounds.push({ capacity, quiet, crowded: await send(Math.round(capacity * OVERLOAD), SECONDS) });
  }
  const after = residentMegabytes(server.pid);
  await server.stop();
  return {
    ratio: median(rounds.map(({ crowded }) => crowded.p99Ms)) / median(rounds.map(({ quiet }) => quiet.p99Ms)),
    rounds: rounds.map(({ capacity, quiet, crowded }) => ({
      ...{ capacityPerSecond: rounded(capacity, 0), quiet: describe(quiet), crowded: describe(crowded) },
    })),
    residentMegabytes: { before: rounded(before, 0), after: rounded(after, 0) },
  };
}

/** Offers more and more until not all is answered as it comes, twice: once is a pause of the machine's. */
async function findCapacity(send: Send): Promise<number> {
  let most = 0;
  for (let perSecond = WARM_UP.perSecond; ; perSecond = Math.round(perSecond * 1.3)) {
    const answered = await mostAnswered([1, 1], perSecond, send);
    most = Math.max(most, answered);
    if (answered < perSecond * 0.9) return most;
  }
}

/** The most that is answered in a second, of so many offered, each times one of `factors`. */
async function mostAnswered(factors: readonly number[], perSecond: number, send: Send): Promise<number> {
  let most = 0;
  for (const factor of factors) {
    const { answered, seconds } = await send(Math.round(perSecond * factor), 1);
    most = Math.max(most, answered / seconds);
  }
  return most;
}

function describe({ answered, refused, seconds, p50Ms, p99Ms }: Offered) {
  return {
    answeredPerSecond: rounded(answered / seconds, 0),
    refusedPerSecond: rounded(refused / seconds, 0),
    ...{ p50Ms: rounded(p50Ms), p99Ms: rounded(p99Ms) },
  };
}
