import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import pg from "pg";
import { connect } from "../testkit/connect.ts";
import { type Bench, median, rounded, spread } from "./harness/bench.ts";
import { openPlace } from "./harness/claviger.ts";

const NODES = 4;
const AGENTS = 16;
const PER_PROCESS = 4;
const WARM_UP = 40;
const REVOCATIONS = 300;
const SCRIPT = fileURLToPath(new URL("./harness/sdk-agents.ts", import.meta.url));
const ENV = { CLAVIGER_LOG_LEVEL: "silent", CLAVIGER_POLICY: '{"manage": {"keysPerOwner": 1000000}}' };

export const bench: Bench = {
  id: "revoke-with-agents",
  question: `median of \`RevokeKey\` with ${NODES} nodes and ${AGENTS} verifiers inside agents, all of which keep the key`,
  reference: "one Postgres commit and one Redis round trip",
  goal: 5,
  async run() {
    const place = await openPlace(0);
    const servers = await Promise.all(Array.from({ length: NODES }, () => place.serve(ENV)));
    const { keys } = connect(servers[0]?.url ?? "", place.token);
    const urls = servers.map(({ url }) => url);
    const agents = await Promise.all(
      Array.from({ length: AGENTS / PER_PROCESS }, () => startAgents(urls, place.token)),
    );
    const database = new pg.Client({ connectionString: place.env.DATABASE_URL });
    await database.connect();
    await database.query("create table bench_row as select 1 as id, 0 as n");
    const redis = new Redis(place.env.REDIS_URL ?? "");
    const [references, revokes, barriers]: [number[], number[], number[]] = [[], [], []];
    const beside = { getKeyMs: [] as number[], updateKeyMs: [] as number[] };
    let waited = 0;
    for (let turn = -WARM_UP; turn < REVOCATIONS; turn++) {
      const { key, secret } = await keys.createKey({ owner: `one-${turn}`, displayName: "k" });
      await Promise.all(agents.map((agent) => know(agent, secret)));
      const commit = await timed(() => database.query("update bench_row set n = n + 1 where id = 1"));
      const trip = await timed(() => redis.ping());
      const read = await timed(() => keys.getKey({ keyId: key?.id ?? "" }));
      const update = await timed(() =>
        keys.updateKey({ key: { id: key?.id ?? "", displayName: "renamed" }, updateMask: { paths: ["display_name"] } }),
      );
      await Promise.all(agents.map((agent) => know(agent, secret)));
      const began = performance.now();
      const { receipt } = await keys.revokeKey({ keyId: key?.id ?? "" });
      const whole = performance.now() - began;
      if (turn < 0) continue;
      const { seconds = 0n, nanos = 0 } = receipt?.barrierDuration ?? {};
      waited += receipt?.expiredVerifierCount ?? 0;
      references.push(commit + trip);
      revokes.push(whole);
      beside.getKeyMs.push(read);
      beside.updateKeyMs.push(update);
      barriers.push(Number(seconds) * 1e3 + nanos / 1e6);
    }
    for (const agent of agents) agent.disconnect();
    await database.end();
    redis.disconnect();
    await place.stop();
    const figures = {
      ...{ nodes: NODES, agents: AGENTS, revocations: REVOCATIONS, leasesWaitedOut: waited },
      ...{ revokeKeyMs: spread(revokes), ofThatBarrierMs: spread(barriers), commitAndRoundTripMs: spread(references) },
      // The durations of a call that only reads, and of one that changes a key as durably without a wait.
      ...{ getKeyMs: spread(beside.getKeyMs), updateKeyMs: spread(beside.updateKeyMs) },
      ratioOfBarrier: rounded(median(barriers) / median(references)),
    };
    return { ratio: median(revokes) / median(references), figures };
  },
};

async function startAgents(urls: readonly string[], token: string): Promise<ChildProcess> {
  const child = fork(SCRIPT, [String(PER_PROCESS), ...urls], { env: { ...process.env, CLAVIGER_TOKEN: token } });
  await once(child, "message");
  return child;
}

/** Every verifier there has it in memory. */
async function know(agents: ChildProcess, secret: string): Promise<void> {
  for (;;) {
    const answered = once(agents, "message");
    agents.send(secret);
    const [{ valid, kept }] = (await answered) as [{ valid: number; kept: number }];
    if (valid !== PER_PROCESS) throw new Error(`${valid} of ${PER_PROCESS} agents call a good key valid`);
    if (kept === PER_PROCESS) return;
  }
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}
