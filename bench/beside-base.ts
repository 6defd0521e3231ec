import { fork } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { create, toBinary } from "@bufbuild/protobuf";
import { GetKeyRequestSchema } from "#gen/claviger/v1/key_management_pb.js";
import { connect } from "../testkit/connect.ts";
import { type Bench, median, rounded } from "./harness/bench.ts";
import { type BenchPlace, framed, openPlace } from "./harness/claviger.ts";
import { load } from "./harness/load.ts";
import { type BenchServer, cpuSeconds, residentMegabytes, startProcess } from "./harness/processes.ts";

const TURNS = 7;
const CALLS = 1500;
const IDLE = 4000;
const STREAMS = 2000;
const SETTLE_MS = 3000;
const GET_KEY = "/claviger.v1.KeyManagement/GetKey";
const IDLE_SCRIPT = fileURLToPath(new URL("./harness/idle-connections.ts", import.meta.url));
const STREAM_SCRIPT = fileURLToPath(new URL("./harness/many-streams.ts", import.meta.url));
/** Refusals for overload would be the other work of a busy machine. */
const ENV = {
  CLAVIGER_LOG_LEVEL: "silent",
  CLAVIGER_POLICY: '{"overload": {"maxTurnMs": 10000, "maxRoutedTurnMs": 10000}}',
};
/** The most of each that is wanted. */
const GOALS = { getKey: 0.8, idleConnection: 0.5, syncStream: 1 };

/** Needs another checkout with its packages, whose tables are the same: `BENCH_BASE=folder`. */
export const bench: Bench = {
  id: "beside-base",
  question:
    "server CPU of GetKey, memory of an idle HTTP/2 connection and of a Sync stream; the worst, as a share of its goal",
  reference: "another version, of which a checkout is named",
  goal: 1,
  async run() {
    const folder = process.env.BENCH_BASE;
    if (folder === undefined) throw new Error("set BENCH_BASE to the folder of another checkout with its packages");
    const places = await Promise.all([openPlace(0), openPlace(0)]);
    const [here, there] = places;
    const bin = resolve(folder, "bin/claviger.js");
    const server = await here.serve(ENV);
    const base = await startProcess(bin, ["serve"], { ...there.env, ...ENV });
    const own = await getKeyAsker(server, here);
    const others = await getKeyAsker(base, there);
    const cpu: { own: number; base: number }[] = [];
    for (let turn = -2; turn < TURNS; turn++) {
      const pair = { own: await own(), base: await others() };
      if (turn >= 0) cpu.push(pair);
    }
    await Promise.all([server.stop(), base.stop()]);
    // On fresh servers: one that has worked has room that it uses again.
    const kilobytes = async (script: string, count: number) => {
      const fresh = [await here.serve(ENV), await startProcess(bin, ["serve"], { ...there.env, ...ENV })] as const;
      const own = await kilobytesEach(script, { server: fresh[0], place: here, count });
      const others = await kilobytesEach(script, { server: fresh[1], place: there, count });
      await Promise.all(fresh.map((each) => each.stop()));
      return { own, base: others };
    };
    const idle = await kilobytes(IDLE_SCRIPT, IDLE);
    const streams = await kilobytes(STREAM_SCRIPT, STREAMS);
    await Promise.all(places.map((place) => place.stop()));
    const ratios = {
      getKey: median(cpu.map((pair) => pair.own / pair.base)),
      idleConnection: idle.own / idle.base,
      syncStream: streams.own / streams.base,
    };
    const shares = Object.entries(GOALS).map(([name, goal]) => ratios[name as keyof typeof GOALS] / goal);
    const figures = {
      ratios: Object.fromEntries(Object.entries(ratios).map(([name, ratio]) => [name, rounded(ratio)])),
      goals: GOALS,
      getKeyMicroseconds: {
        own: rounded(median(cpu.map((pair) => pair.own)), 0),
        base: rounded(median(cpu.map((pair) => pair.base)), 0),
        ratios: cpu.map((pair) => rounded(pair.own / pair.base)),
      },
      idleConnectionKilobytes: { own: rounded(idle.own, 1), base: rounded(idle.base, 1), count: IDLE },
      syncStreamKilobytes: { own: rounded(streams.own, 1), base: rounded(streams.base, 1), count: STREAMS },
    };
    return { ratio: Math.max(...shares), figures };
  },
};

/** Microseconds of the server's CPU for each of many calls. */
async function getKeyAsker(server: BenchServer, { token }: BenchPlace): Promise<() => Promise<number>> {
  const { key } = await connect(server.url, token).keys.createKey({ owner: "one", displayName: "k" });
  const body = framed(toBinary(GetKeyRequestSchema, create(GetKeyRequestSchema, { keyId: key?.id ?? "" })));
  return async () => {
    const before = cpuSeconds(server.pid);
    const { failures } = await load({
      ...{ url: server.url, path: GET_KEY, headers: { authorization: `Bearer ${token}` }, body: () => body },
      ...{ requests: CALLS, connections: 2, streams: 4 },
    });
    if (failures > 0) throw new Error(`${failures} of ${CALLS} calls failed`);
    return ((cpuSeconds(server.pid) - before) / CALLS) * 1e6;
  };
}

/** Kilobytes of the server's memory for each connection or stream of a forked client, once all are there. */
async function kilobytesEach(
  script: string,
  { server, place, count }: { readonly server: BenchServer; readonly place: BenchPlace; readonly count: number },
): Promise<number> {
  await sleep(SETTLE_MS);
  const before = residentMegabytes(server.pid);
  const client = fork(script, [server.url, String(count)], { env: { ...process.env, CLAVIGER_TOKEN: place.token } });
  const [told] = await Promise.race([once(client, "message"), once(client, "exit")]);
  if (typeof told !== "string") throw new Error(`the clients of ${server.url} ended`);
  await sleep(SETTLE_MS);
  const after = residentMegabytes(server.pid);
  client.disconnect();
  await once(client, "exit");
  return ((after - before) * 1024) / count;
}
