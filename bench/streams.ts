import { fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { connect } from "../testkit/connect.ts";
import { type Bench, median, rounded, spread } from "./harness/bench.ts";
import { openPlace } from "./harness/claviger.ts";
import { cpuSeconds, residentMegabytes } from "./harness/processes.ts";

const STREAMS = 5000;
const REVOCATIONS = 20;
const SCRIPT = fileURLToPath(new URL("./harness/many-streams.ts", import.meta.url));
const ENV = { CLAVIGER_LOG_LEVEL: "silent", CLAVIGER_POLICY: '{"manage": {"keysPerOwner": 1000000}}' };
/** Long enough that every lease is renewed twice. */
const QUIET_MS = 5000;

export const bench: Bench = {
  id: "streams",
  question: `memory of a node for each of ${STREAMS} streams of \`Sync\`, in KB; a revocation that all of them must obey beside`,
  reference: "64 KB",
  goal: 1,
  async run() {
    const place = await openPlace(0);
    const server = await place.serve(ENV);
    const { keys } = connect(server.url, place.token);
    const without = await revokeAll(keys, async () => undefined);
    const before = residentMegabytes(server.pid);
    const agents = fork(SCRIPT, [server.url, String(STREAMS)], {
      env: { ...process.env, CLAVIGER_TOKEN: place.token },
    });
    const problems: string[] = [];
    agents.on("message", (message: { error?: string }) => message.error && problems.push(message.error));
    await once(agents, "message");
    const [cpuBefore, began] = [cpuSeconds(server.pid), performance.now()];
    await pause(QUIET_MS);
    const idle = (cpuSeconds(server.pid) - cpuBefore) / ((performance.now() - began) / 1000);
    const after = residentMegabytes(server.pid);
    const withAll = await revokeAll(keys, async (secret) => {
      const known = once(agents, "message");
      agents.send(secret);
      await known;
    });
    if (problems.length > 0) throw new Error(problems[0]);
    agents.disconnect();
    await place.stop();
    const kilobytes = ((after - before) * 1024) / STREAMS;
    const figures = {
      ...{ streams: STREAMS, kilobytesEach: rounded(kilobytes, 1), megabytes: { before, after } },
      coresToRenewTheirLeases: rounded(idle),
      revokeKeyMs: { without: spread(without.ms), withAllToObey: spread(withAll.ms) },
      fanOutMs: rounded(median(withAll.ms) - median(without.ms)),
      leasesWaitedOut: withAll.waited,
    };
    return { ratio: kilobytes / 64, figures };
  },
};

async function revokeAll(keys: ReturnType<typeof connect>["keys"], know: (secret: string) => Promise<void>) {
  const ms: number[] = [];
  let waited = 0;
  for (let turn = 0; turn < REVOCATIONS; turn++) {
    const { key, secret } = await keys.createKey({ owner: "streams", displayName: "k" });
    await know(secret);
    const began = performance.now();
    const { receipt } = await keys.revokeKey({ keyId: key?.id ?? "" });
    ms.push(performance.now() - began);
    waited += receipt?.expiredVerifierCount ?? 0;
  }
  return { ms, waited };
}
