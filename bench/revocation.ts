import { Redis } from "ioredis";
import pg from "pg";
import { loadConfig } from "../src/server/config/config.ts";
import { openStorage } from "../src/server/open/open-storage.ts";
import { fillKeys } from "../test/rpc/fill-keys.ts";
import { type Clients, connect } from "../testkit/connect.ts";
import { type Bench, median, rounded, spread } from "./harness/bench.ts";
import { type BenchPlace, openPlace } from "./harness/claviger.ts";

const NODES = 3;
const WARM_UP = 40;
const REVOCATIONS = 300;
const MANY = 100_000;
const ENV = { CLAVIGER_LOG_LEVEL: "silent", CLAVIGER_POLICY: '{"manage": {"keysPerOwner": 1000000}}' };

export const bench: Bench = {
  id: "revocation",
  question: `median of \`RevokeKey\` with ${NODES} nodes that live and keep the key; \`RevokeKeys\` of ${MANY} beside`,
  reference: "one Postgres commit and one Redis round trip",
  goal: 5,
  async run() {
    const place = await openPlace(0);
    const servers = await Promise.all(Array.from({ length: NODES }, () => place.serve(ENV)));
    const clients = servers.map(({ url }) => connect(url, place.token));
    const one = await revokeOneByOne(place, clients);
    const many = await revokeMany(place, clients);
    await place.stop();
    return { ratio: median(one.revokes) / median(one.references), figures: { ...one.figures, revokeKeys: many } };
  },
};

async function revokeOneByOne(place: BenchPlace, clients: readonly Clients[]) {
  const database = new pg.Client({ connectionString: place.env.DATABASE_URL });
  await database.connect();
  await database.query("create table bench_row as select 1 as id, 0 as n");
  const redis = new Redis(place.env.REDIS_URL ?? "");
  const [references, revokes, barriers]: [number[], number[], number[]] = [[], [], []];
  const [first] = clients as [Clients];
  for (let turn = -WARM_UP; turn < REVOCATIONS; turn++) {
    const { key, secret } = await first.keys.createKey({ owner: `one-${turn}`, displayName: "k" });
    for (const { verifier } of clients) await verifier.verify({ secret });
    const commit = await timed(() => database.query("update bench_row set n = n + 1 where id = 1"));
    const trip = await timed(() => redis.ping());
    let barrierMs = 0;
    const whole = await timed(async () => {
      const { receipt } = await first.keys.revokeKey({ keyId: key?.id ?? "" });
      const { seconds = 0n, nanos = 0 } = receipt?.barrierDuration ?? {};
      barrierMs = Number(seconds) * 1e3 + nanos / 1e6;
    });
    if (turn < 0) continue;
    references.push(commit + trip);
    revokes.push(whole);
    barriers.push(barrierMs);
  }
  await database.end();
  redis.disconnect();
  const figures = {
    ...{ nodes: NODES, revocations: REVOCATIONS, revokeKeyMs: spread(revokes), ofThatBarrierMs: spread(barriers) },
    commitAndRoundTripMs: spread(references),
  };
  return { references, revokes, figures };
}

async function revokeMany(place: BenchPlace, clients: readonly Clients[]) {
  const opened = await openStorage(await loadConfig({ ...place.env, ...ENV }));
  // Each seventh of the filled-in keys is revoked already.
  await fillKeys(opened.storage, { name: "many", count: Math.ceil((MANY * 7) / 6), owners: 1000 });
  await opened.close();
  const [first, second] = clients as [Clients, Clients];
  let running = true;
  const meanwhile: number[] = [];
  const others = (async () => {
    for (let turn = 0; running; turn++) {
      const { key } = await second.keys.createKey({ owner: `other-${turn}`, displayName: "k" });
      meanwhile.push(await timed(() => second.keys.revokeKey({ keyId: key?.id ?? "" })));
    }
  })();
  let keys = 0;
  const ms = await timed(async () => {
    const answer = await first.keys.revokeKeys({ labelSelector: { of: "many" } }, { timeoutMs: 115_000 });
    keys = answer.keyCount;
  });
  running = false;
  await others;
  return { keys, seconds: rounded(ms / 1000, 1), othersMeanwhileMs: { count: meanwhile.length, ...spread(meanwhile) } };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}
