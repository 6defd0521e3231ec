import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { KINDS, type KindName, PATH } from "./abuse/kinds.ts";
import { startAbuser } from "./abuse/start-abuser.ts";
import { type Answer, type Bench, median, rounded } from "./harness/bench.ts";
import { type BenchPlace, frame, openPlace, warm } from "./harness/claviger.ts";
import { load } from "./harness/load.ts";
import { type BenchServer, cpuSeconds, residentMegabytes, startProcess } from "./harness/processes.ts";

const SINK = fileURLToPath(new URL("./abuse/sink.ts", import.meta.url));
const KEYS = 1000;
const ROUNDS = 5;
/** For longer than it takes who was cut off to come back; and as many as are asked until the first abuse is cut off. */
const REQUESTS = 45_000;
const FIRST = 12_000;
/** An abuser that is cut off comes back at once. */
const COMES_BACK_AFTER_MS = 0;
/** The well-behaved client is connected first; how long others from its address wait is another question. */
const CONNECT_MS = 50;
/** Thousands of connections, and calls, have come when the server uses less CPU than this share of as many milliseconds. */
const RESTING_SHARE = 0.1;
const SETTLE_MS = 2000;
const MOST_SETTLE_MS = 60_000;

export const bench: Bench = {
  id: "abuse",
  question: "throughput that a well-behaved client keeps while another abuses HTTP/2",
  reference: "the same client alone, in turns with it",
  goal: 1 / 0.8,
  run,
};

/** The parts of a measurement: the server, and a sink for the same abuse, which shows the abuser's own CPU. */
interface Scene {
  readonly place: BenchPlace;
  readonly server: BenchServer;
  readonly sink: BenchServer;
  readonly wellBehaved: () => Promise<Turn>;
}

/** A turn of the well-behaved client. */
interface Turn {
  /** That were answered. */
  readonly callsPerSecond: number;
  /** Seconds until so many were. */
  readonly secondsOfTheFirst: number;
  /** CPU of the server for all clients, by calls of this client: the cost of the abuse, on a busy machine too. */
  readonly serverMicroseconds: number;
}

async function run(): Promise<Answer> {
  const place = await openPlace(KEYS);
  const [server, sink] = [await place.serve(), await startProcess(SINK, [])];
  await warm(server, place.token, place.secrets);
  const scene = { place, server, sink, wellBehaved: wellBehavedClient(server, place) };
  for (let turn = 0; turn < ROUNDS; turn++) await scene.wellBehaved();

  const kinds: Record<string, Awaited<ReturnType<typeof measure>>> = {};
  for (const kind of Object.keys(KINDS) as KindName[]) {
    kinds[kind] = await measure(kind, scene);
    console.error(kind, kinds[kind]);
  }
  await sink.stop();
  await place.stop();
  const ratio = Math.max(...Object.values(kinds).map((figures) => figures.ratio));
  return {
    ratio,
    figures: { rounds: ROUNDS, requestsPerTurn: REQUESTS, first: FIRST, connections: 1, streams: 8, kinds },
  };
}

function wellBehavedClient({ url, pid }: BenchServer, { token, secrets }: BenchPlace) {
  const bodies = secrets.map(frame);
  const headers = { authorization: `Bearer ${token}` };
  const body = (turn: number) => bodies[(turn * 7919) % bodies.length] as Buffer;
  return async (): Promise<Turn> => {
    const before = cpuSeconds(pid);
    const asked = { requests: REQUESTS, first: FIRST, connections: 1, streams: 8 };
    const { seconds, secondsOfTheFirst, failures } = await load({ url, path: PATH, headers, body, ...asked });
    const answered = REQUESTS - failures;
    const serverMicroseconds = ((cpuSeconds(pid) - before) / answered) * 1e6;
    return { callsPerSecond: answered / seconds, secondsOfTheFirst, serverMicroseconds };
  };
}

interface AbusedTurn extends Turn {
  readonly framesPerSecond: number;
  readonly cutOff: number;
}

async function measure(kind: KindName, { server, sink, wellBehaved }: Scene) {
  const rounds: { alone: Turn; abused: AbusedTurn; aside: AbusedTurn }[] = [];
  const megabytesBefore = residentMegabytes(server.pid);
  let megabytesMost = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const alone = await wellBehaved();
    const abused = await underAbuse(kind, server, wellBehaved, () => {
      megabytesMost = Math.max(megabytesMost, residentMegabytes(server.pid));
    });
    rounds.push({ alone, abused, aside: await underAbuse(kind, sink, wellBehaved) });
  }
  const typical = (of: (round: (typeof rounds)[number]) => number, digits = 2) =>
    rounded(median(rounds.map(of)), digits);
  return {
    ratio: typical(({ alone, abused }) => alone.callsPerSecond / abused.callsPerSecond),
    ratioOfTheFirst: typical(({ alone, abused }) => abused.secondsOfTheFirst / alone.secondsOfTheFirst),
    ratioWhenAimedAtASink: typical(({ alone, aside }) => alone.callsPerSecond / aside.callsPerSecond),
    ratioOfServerCpu: typical(({ alone, abused }) => abused.serverMicroseconds / alone.serverMicroseconds),
    callsPerSecond: typical(({ alone }) => alone.callsPerSecond, 0),
    framesPerSecond: typical(({ abused }) => abused.framesPerSecond, 0),
    framesPerSecondAtTheSink: typical(({ aside }) => aside.framesPerSecond, 0),
    connectionsCutOff: rounds.reduce((sum, { abused }) => sum + abused.cutOff, 0),
    residentMegabytes: { before: rounded(megabytesBefore, 0), during: rounded(megabytesMost, 0) },
  };
}

async function underAbuse(
  kind: KindName,
  target: BenchServer,
  wellBehaved: Scene["wellBehaved"],
  look?: () => void,
): Promise<AbusedTurn> {
  const abuser = await startAbuser({ url: target.url, kind, comesBackAfterMs: COMES_BACK_AFTER_MS });
  // State that only has to exist is built first: the cost of its arrival is a load like others.
  if (!("more" in KINDS[kind])) {
    await abuser.damage();
    await untilAtRest(target.pid);
  }
  const measured = wellBehaved();
  await sleep(CONNECT_MS);
  await abuser.damage();
  const began = performance.now();
  const turn = await measured;
  const { frames, cutOff } = await abuser.damage();
  const seconds = (performance.now() - began) / 1000;
  look?.();
  await abuser.stop();
  return { ...turn, framesPerSecond: frames / seconds, cutOff };
}

/** After a fixed time a busy machine would still be at what came, and that is a load like others. */
async function untilAtRest(pid: number): Promise<void> {
  const began = performance.now();
  let before = cpuSeconds(pid);
  for (let share = 1; share > RESTING_SHARE; ) {
    if (performance.now() - began > MOST_SETTLE_MS) throw new Error("the server does not come to rest");
    await sleep(SETTLE_MS);
    share = ((cpuSeconds(pid) - before) * 1000) / SETTLE_MS;
    before = cpuSeconds(pid);
  }
}
