/**
 * How long `RevokeKey` takes when every node lives, beside one Postgres commit and one Redis round trip in the same run;
 * and `RevokeKeys` of many, with what other revocations wait meanwhile.
 * `DATABASE_URL=postgres://… REDIS_URL=redis://… node bench/revocation.ts [keys]`; the database should be an empty one.
 */
import { writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { Redis } from "ioredis";
import pg from "pg";
import { bootstrapAdmin } from "../src/server/bootstrap.ts";
import { loadConfig } from "../src/server/config.ts";
import { openStorage } from "../src/server/open-storage.ts";
import { fillKeys } from "../test/rpc/fill-keys.ts";
import { connect } from "../test/support/connect.ts";
import { startServer } from "../test/support/server-process.ts";

const NODES = 3;
const WARM_UP = 40;
const REVOCATIONS = 300;
const MANY = Number(process.argv[2] ?? 100_000);

const { DATABASE_URL = "", REDIS_URL = "" } = process.env;
const env = {
  ...{ DATABASE_URL, REDIS_URL, CLAVIGER_LOG_LEVEL: "silent", CLAVIGER_POLICY: '{"keysPerOwner": 1000000}' },
  CLAVIGER_ROOT_SECRETS: Buffer.alloc(32).toString("base64"),
};

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

function describe(values: readonly number[]) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => Math.round((sorted[Math.floor(sorted.length * share)] ?? 0) * 100) / 100;
  return { median: at(0.5), p90: at(0.9), p99: at(0.99), max: at(0.9999) };
}

const config = await loadConfig(env);
const token = (await bootstrapAdmin(config)).secret.reveal();
const servers = await Promise.all(Array.from({ length: NODES }, () => startServer({ env })));
const clients = servers.map(({ url }) => connect(url, token));
const [first] = clients;
if (first === undefined) throw new Error("there is no node");
const database = new pg.Client({ connectionString: DATABASE_URL });
await database.connect();
await database.query("create table if not exists bench_row (id int primary key, n int)");
await database.query("insert into bench_row values (1, 0) on conflict do nothing");
const redis = new Redis(REDIS_URL);

const reference: number[] = [];
const revocations: number[] = [];
const barriers: number[] = [];
for (let i = 0; i < WARM_UP + REVOCATIONS; i++) {
  const { key, secret } = await first.keys.createKey({ owner: `bench-${process.pid}-${i}`, displayName: "k" });
  for (const { verifier } of clients) await verifier.verify({ secret });
  const commit = await timed(() => database.query("update bench_row set n = n + 1 where id = 1"));
  const trip = await timed(() => redis.ping());
  let barrierMs = 0;
  const whole = await timed(async () => {
    const { receipt } = await first.keys.revokeKey({ keyId: key?.id ?? "" });
    barrierMs =
      Number(receipt?.barrierDuration?.nanos ?? 0) / 1e6 + Number(receipt?.barrierDuration?.seconds ?? 0) * 1e3;
  });
  if (i < WARM_UP) continue;
  reference.push(commit + trip);
  revocations.push(whole);
  barriers.push(barrierMs);
}

// Each seventh of what is filled in is revoked already.
const opened = await openStorage(config);
const name = `many-${process.pid}`;
await fillKeys(opened.storage, { name, count: Math.ceil((MANY * 7) / 6), owners: 1000 });
await opened.close();
let running = true;
const meanwhile: number[] = [];
const second = clients[1] ?? first;
const others = (async () => {
  for (let i = 0; running; i++) {
    const { key } = await second.keys.createKey({ owner: `other-${process.pid}-${i}`, displayName: "k" });
    meanwhile.push(await timed(() => second.keys.revokeKey({ keyId: key?.id ?? "" })));
  }
})();
let keyCount = 0;
const many = await timed(async () => {
  const answer = await first.keys.revokeKeys({ labelSelector: { of: name } }, { timeoutMs: 115_000 });
  keyCount = answer.keyCount;
});
running = false;
await others;

const median = describe(revocations).median / describe(reference).median;
const result = {
  question: "RevokeKey with all nodes live, against one commit and one Redis round trip; RevokeKeys of many",
  node: process.version,
  machine: `${cpus().length} × ${cpus()[0]?.model.trim()}`,
  nodes: NODES,
  revocations: REVOCATIONS,
  revokeKeyMs: describe(revocations),
  ofThatBarrierMs: describe(barriers),
  commitAndRoundTripMs: describe(reference),
  medianRatio: Math.round(median * 100) / 100,
  revokeKeys: {
    keys: keyCount,
    seconds: Math.round(many / 100) / 10,
    othersMeanwhileMs: { count: meanwhile.length, ...describe(meanwhile) },
  },
};
await writeFile(new URL("./results/revocation.json", import.meta.url), `${JSON.stringify(result, null, 2)}\n`);
console.log(JSON.stringify(result, null, 2));
await Promise.all(servers.map((server) => server.stop()));
await database.end();
redis.disconnect();
