import { fileURLToPath } from "node:url";
import { type Answer, median, rounded } from "./bench.ts";
import { frame, openPlace, warm } from "./claviger.ts";
import { type LoadResult, load } from "./load.ts";
import { type BenchServer, cpuSeconds, residentMegabytes, startProcess } from "./processes.ts";

const KEYS = 100_000;
const TURNS = 9;
const REQUESTS = 20_000;
const REFERENCES = fileURLToPath(new URL("./reference-server.ts", import.meta.url));
export const VERIFY_PATH = "/claviger.v1.KeyVerifier/Verify";
/** The caller's own key is kept too; and what is 100,000 keys should not be just too many. */
const ROOMY = { CLAVIGER_POLICY: JSON.stringify({ cacheEntries: KEYS + 1000, cacheEntryMs: 3_600_000 }) };

export interface Turn extends LoadResult {
  readonly cpuMicroseconds: number;
}

/** Asks a server again and again, `requests` at a time, with the bodies in an order that no cache likes. */
export function asker(server: BenchServer, token: string, bodies: readonly Buffer[], requests = REQUESTS) {
  let asked = 0;
  return async (): Promise<Turn> => {
    const first = asked;
    asked += requests;
    const before = cpuSeconds(server.pid);
    const result = await load({
      ...{ url: server.url, path: VERIFY_PATH, headers: { authorization: `Bearer ${token}` }, requests },
      ...{ connections: 4, streams: 32 },
      body: (at) => bodies[((first + at) * 7919) % bodies.length] as Buffer,
    });
    if (result.failures > 0) throw new Error(`${result.failures} calls failed`);
    return { ...result, cpuMicroseconds: ((cpuSeconds(server.pid) - before) / requests) * 1e6 };
  };
}

/** Server CPU of a warm unary gRPC `Verify` among 100,000 keys, against that of a reference server, turn by turn. */
export async function compareWith(reference: "bare" | "connect" | "grpc-js"): Promise<Answer> {
  const place = await openPlace(KEYS);
  const [claviger, other] = [await place.serve(ROOMY), await startProcess(REFERENCES, [reference])];
  await warm(claviger, place.token, place.secrets);
  const bodies = place.secrets.map(frame);
  const asking = [asker(claviger, place.token, bodies), asker(other, place.token, bodies)] as const;
  const turns: { readonly claviger: Turn; readonly other: Turn }[] = [];
  for (let turn = -1; turn < TURNS; turn++) {
    const measured = { claviger: await asking[0](), other: await asking[1]() };
    if (turn >= 0) turns.push(measured);
  }
  const ratios = turns.map((turn) => turn.claviger.cpuMicroseconds / turn.other.cpuMicroseconds);
  const memory = { residentMegabytes: rounded(residentMegabytes(claviger.pid), 0) };
  await other.stop();
  await place.stop();
  const figures = {
    ...{ keys: KEYS, turns: TURNS, requestsPerTurn: REQUESTS },
    claviger: { ...describe(turns.map((turn) => turn.claviger)), ...memory },
    [reference]: describe(turns.map((turn) => turn.other)),
    ratios: ratios.map((ratio) => rounded(ratio)),
  };
  return { ratio: median(ratios), figures };
}

export function describe(turns: readonly Turn[]) {
  const at = (share: number) =>
    rounded(median(turns.map(({ latencies }) => latencies[Math.floor(latencies.length * share)] ?? 0)));
  return {
    cpuMicroseconds: rounded(median(turns.map(({ cpuMicroseconds }) => cpuMicroseconds)), 1),
    perSecond: rounded(median(turns.map(({ seconds, latencies }) => latencies.length / seconds)), 0),
    ...{ p50Ms: at(0.5), p99Ms: at(0.99) },
  };
}
