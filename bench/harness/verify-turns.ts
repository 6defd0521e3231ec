import { fileURLToPath } from "node:url";
import { type Answer, median, rounded } from "./bench.ts";
import { frame, openPlace, warm } from "./claviger.ts";
import { type LoadResult, load } from "./load.ts";
import { type BenchServer, cpuSeconds, residentMegabytes, startProcess } from "./processes.ts";

const KEYS = 100_000;
const TURNS = 9;
const REQUESTS = 20_000;
const REFERENCES = fileURLToPath(new URL("./reference-server.ts", import.meta.url));
const PATH = "/claviger.v1.KeyVerifier/Verify";

interface Turn extends LoadResult {
  readonly cpuMicroseconds: number;
}

/** Server CPU of a warm unary gRPC `Verify` among 100,000 keys, against that of a reference server, turn by turn. */
export async function compareWith(reference: "bare" | "connect" | "grpc-js"): Promise<Answer> {
  const place = await openPlace(KEYS);
  const frames = place.secrets.map(frame);
  const [claviger, other] = [await place.serve(), await startProcess(REFERENCES, [reference])];
  await warm(claviger, place.token, place.secrets);

  async function turn(server: BenchServer): Promise<Turn> {
    const before = cpuSeconds(server.pid);
    const result = await load({
      ...{ url: server.url, path: PATH, headers: { authorization: `Bearer ${place.token}` }, requests: REQUESTS },
      ...{ connections: 4, streams: 32, body: (at: number) => frames[(at * 7919) % frames.length] as Buffer },
    });
    if (result.failures > 0) throw new Error(`${result.failures} calls failed`);
    return { ...result, cpuMicroseconds: ((cpuSeconds(server.pid) - before) / REQUESTS) * 1e6 };
  }

  const turns: { readonly claviger: Turn; readonly other: Turn }[] = [];
  for (let at = -1; at < TURNS; at++) {
    const measured = { claviger: await turn(claviger), other: await turn(other) };
    if (at >= 0) turns.push(measured);
  }
  const figures = {
    ...{ keys: KEYS, turns: TURNS, requestsPerTurn: REQUESTS },
    claviger: {
      ...describe(turns.map((pair) => pair.claviger)),
      residentMegabytes: rounded(residentMegabytes(claviger.pid), 0),
    },
    [reference]: describe(turns.map((pair) => pair.other)),
    ratios: turns.map((pair) => rounded(pair.claviger.cpuMicroseconds / pair.other.cpuMicroseconds)),
  };
  await other.stop();
  await place.stop();
  return { ratio: median(turns.map((pair) => pair.claviger.cpuMicroseconds / pair.other.cpuMicroseconds)), figures };
}

function describe(turns: readonly Turn[]) {
  const at = (share: number) =>
    rounded(median(turns.map(({ latencies }) => latencies[Math.floor(latencies.length * share)] ?? 0)));
  return {
    cpuMicroseconds: rounded(median(turns.map(({ cpuMicroseconds }) => cpuMicroseconds)), 1),
    perSecond: rounded(median(turns.map(({ seconds }) => REQUESTS / seconds)), 0),
    ...{ p50Ms: at(0.5), p99Ms: at(0.99) },
  };
}
