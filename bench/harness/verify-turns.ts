import { type Answer, median, rounded } from "./bench.ts";
import { frame, openPlace, warm } from "./claviger.ts";
import { askByH2load, hasH2load } from "./h2load.ts";
import { type LoadResult, load } from "./load.ts";
import { type BenchServer, cpuSeconds, residentMegabytes } from "./processes.ts";
import { PROFILED, profile } from "./profile.ts";
import { canBeProfiled, type Reference, startReferences } from "./references.ts";

const KEYS = 100_000;
const TURNS = 9;
export const REQUESTS = 40_000;
const H2LOAD_TURNS = 5;

/** How many calls are under way at once, and how. */
interface Manner {
  readonly connections: number;
  /** On each connection. */
  readonly streams: number;
}

const BUSY: Manner = { connections: 4, streams: 32 };
export const VERIFY_PATH = "/claviger.v1.KeyVerifier/Verify";
/** The caller's own key is kept too; and what is 100,000 keys should not be just too many. */
const ROOMY = { CLAVIGER_POLICY: JSON.stringify({ verify: { cacheEntries: KEYS + 1000, cacheEntryMs: 3_600_000 } }) };

export interface Turn extends LoadResult {
  readonly cpuMicroseconds: number;
}

/** Asks a server again and again, `requests` at a time, with the bodies in an order that no cache likes. */
export function asker(
  server: BenchServer,
  token: string,
  bodies: readonly Buffer[],
  { requests = REQUESTS, manner = BUSY } = {},
) {
  let asked = 0;
  return async (): Promise<Turn> => {
    const first = asked;
    asked += requests;
    const before = cpuSeconds(server.pid);
    const result = await load({
      ...{ url: server.url, path: VERIFY_PATH, headers: { authorization: `Bearer ${token}` }, requests },
      ...manner,
      body: (at) => bodies[((first + at) * 7919) % bodies.length] as Buffer,
    });
    // A saturated server refuses what comes after a pause of the machine's.
    if (result.failures > requests / 100) throw new Error(`${result.failures} of ${requests} calls failed`);
    return { ...result, cpuMicroseconds: ((cpuSeconds(server.pid) - before) / requests) * 1e6 };
  };
}

export interface Comparison {
  readonly reference: Reference;
  /** Measured too, if they can be started here. */
  readonly beside?: readonly Reference[];
  readonly manner?: Manner;
}

/**
 * Server CPU of a warm unary gRPC `Verify` among 100,000 keys, against that of a reference server, turn by turn; with
 * that of others beside. CPU is that of all threads.
 */
export async function compareWith({ reference, beside = [], manner = BUSY }: Comparison): Promise<Answer> {
  const place = await openPlace(KEYS);
  const claviger = await place.serve({ ...ROOMY, ...PROFILED });
  await warm(claviger, place.token, place.secrets);
  const references = await startReferences([reference, ...beside]);
  if (!references.servers.has(reference)) throw new Error(`${reference}: ${references.missing[reference]}`);
  const servers = new Map<string, BenchServer>([["claviger", claviger], ...references.servers]);
  const bodies = place.secrets.map(frame);
  const asks = new Map([...servers].map(([name, server]) => [name, asker(server, place.token, bodies, { manner })]));
  const turns = new Map([...asks.keys()].map((name) => [name, [] as Turn[]]));
  for (let turn = -1; turn < TURNS; turn++) {
    for (const [name, ask] of asks) {
      const measured = await ask();
      if (turn >= 0) turns.get(name)?.push(measured);
    }
  }
  const [body = Buffer.alloc(0)] = bodies;
  const byH2load = await turnsOfH2load(servers, { token: place.token, body, manner });
  const profiles: Record<string, unknown> = {};
  for (const [name, ask] of asks) {
    if (canBeProfiled(name)) profiles[name] = await profile(servers.get(name) as BenchServer, REQUESTS, ask);
  }
  const memory = { residentMegabytes: rounded(residentMegabytes(claviger.pid), 0) };
  await Promise.all([...servers.values()].map((server) => server.stop()));
  await place.stop();
  const cpu = (name: string) => (turns.get(name) ?? []).map(({ cpuMicroseconds }) => cpuMicroseconds);
  const own = cpu("claviger");
  const ratiosTo = (name: string) => cpu(name).map((other, turn) => (own[turn] ?? 0) / other);
  const figures = {
    ...{ keys: KEYS, turns: TURNS, requestsPerTurn: REQUESTS, ...manner },
    ...Object.fromEntries([...turns].map(([name, own]) => [name, describe(own)])),
    ...memory,
    ratios: ratiosTo(reference).map((ratio) => rounded(ratio)),
    ratioTo: Object.fromEntries([...references.servers.keys()].map((name) => [name, rounded(median(ratiosTo(name)))])),
    ...(beside.length === 0 ? {} : { notStarted: references.missing }),
    ...{ byH2load, profiles },
  };
  return { ratio: median(ratiosTo(reference)), figures };
}

/** The same with nghttp2's client where there is one, and then with one key: CPU of each server in microseconds a call. */
async function turnsOfH2load(
  servers: ReadonlyMap<string, BenchServer>,
  { token, body, manner }: { readonly token: string; readonly body: Buffer; readonly manner: Manner },
) {
  if (!(await hasH2load())) return "not installed";
  const cpu = new Map([...servers.keys()].map((name) => [name, [] as number[]]));
  for (let turn = -1; turn < H2LOAD_TURNS; turn++) {
    for (const [name, server] of servers) {
      const options = { server, path: VERIFY_PATH, token, body, requests: REQUESTS, ...manner };
      const cpuMicroseconds = await askByH2load(options);
      if (turn >= 0) cpu.get(name)?.push(cpuMicroseconds);
    }
  }
  return Object.fromEntries([...cpu].map(([name, own]) => [name, rounded(median(own), 1)]));
}

export function describe(turns: readonly Turn[]) {
  const at = (share: number) =>
    rounded(median(turns.map(({ latencies }) => latencies[Math.floor(latencies.length * share)] ?? 0)));
  return {
    cpuMicroseconds: rounded(median(turns.map(({ cpuMicroseconds }) => cpuMicroseconds)), 1),
    perSecond: rounded(median(turns.map(({ seconds, latencies }) => latencies.length / seconds)), 0),
    ...{ p50Ms: at(0.5), p99Ms: at(0.99), refused: turns.reduce((sum, { failures }) => sum + failures, 0) },
  };
}
