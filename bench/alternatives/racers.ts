import { type BenchPlace, frame, warm } from "../harness/claviger.ts";
import { load } from "../harness/load.ts";
import { cpuSeconds } from "../harness/processes.ts";
import type { Turn } from "./in-process.ts";
import { type Served, serveContestant } from "./served.ts";
import type { SharedStores } from "./stores.ts";

/** A contestant whose verifications are timed, in turns. */
export interface Racer {
  readonly name: string;
  turn(atOnce: number, ms: number): Promise<Turn>;
  stop(): Promise<void>;
}

const PATH = "/claviger.v1.KeyVerifier/Verify";

/** Over gRPC. */
export async function clavigerRacer(place: BenchPlace): Promise<Racer> {
  const server = await place.serve();
  await warm(server, place.token, place.secrets);
  const frames = place.secrets.map(frame);
  const perMs = new Map<number, number>();
  return {
    name: "claviger, gRPC",
    async turn(atOnce, ms) {
      const requests = Math.ceil((perMs.get(atOnce) ?? 1) * ms);
      const before = cpuSeconds(server.pid);
      const { seconds, latencies, failures } = await load({
        ...{ url: server.url, path: PATH, headers: { authorization: `Bearer ${place.token}` }, requests },
        ...{ connections: Math.min(4, atOnce), streams: Math.ceil(atOnce / 4) },
        body: (at: number) => frames[(at * 7919) % frames.length] as Buffer,
      });
      if (failures > 0) throw new Error(`${failures} calls failed`);
      perMs.set(atOnce, requests / seconds / 1000);
      const used = cpuSeconds(server.pid) - before;
      return { verifications: requests, seconds, cpuSeconds: used, latencies: [...latencies] };
    },
    stop: () => server.stop(),
  };
}

/** The same contestant twice: in the process that asks, and behind node:http. */
export async function contestantRacers(name: string, stores: SharedStores, keys: number): Promise<Racer[]> {
  const served = await serveContestant(name, await stores.envFor(name));
  const secrets = await served.ask<readonly string[]>(`seed?count=${keys}`);
  return [
    {
      name: `${name}, in process`,
      turn: (atOnce, ms) => served.ask<Turn>(`turn?atOnce=${atOnce}&ms=${ms}`),
      stop: () => served.stop(),
    },
    { name: `${name}, node:http`, turn: (atOnce, ms) => overHttp(served, secrets, atOnce, ms), stop: async () => {} },
  ];
}

async function overHttp(served: Served, secrets: readonly string[], atOnce: number, ms: number): Promise<Turn> {
  const latencies: number[] = [];
  const before = cpuSeconds(served.pid);
  const began = performance.now();
  let next = 0;
  const work = async () => {
    while (performance.now() < began + ms) {
      const at = performance.now();
      const isValid = await served.verify(secrets[(next++ * 7919) % secrets.length] as string);
      if (!isValid) throw new Error("a good key was refused");
      latencies.push(performance.now() - at);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  await served.ask("settled");
  const seconds = (performance.now() - began) / 1000;
  return { verifications: latencies.length, seconds, cpuSeconds: cpuSeconds(served.pid) - before, latencies };
}
