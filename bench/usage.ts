/**
 * The cost of counting: for a verification, for Postgres with a million keys in a minute, for reading a month of one
 * key, for a limit on a hot key, and the loss in two minutes without Postgres. `DATABASE_URL=postgres://…
 * REDIS_URL=redis://… node bench/usage.ts [part…]`; parts: cost, keys, query, limit, outage. The database should be an
 * empty one; `outage` starts a Postgres of its own.
 */
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import pg from "pg";
import { appendUsage } from "../src/postgres/usage-ledger.ts";
import { bootstrapAdmin } from "../src/server/bootstrap.ts";
import { loadConfig } from "../src/server/config/config.ts";
import { openStorage } from "../src/server/open/open-storage.ts";
import { systemClocks, systemRandom } from "../src/system/node.ts";
import { UsageFlusher } from "../src/usage/flusher.ts";
import { foldLedger } from "../src/usage/fold.ts";
import { UsageRecorder } from "../src/usage/recorder.ts";
import { type Node, startCluster } from "../test/chaos/cluster.ts";
import { type Clients, connect } from "../testkit/connect.ts";
import type { Mutation } from "../testkit/mutation.ts";
import { type ServerProcess, startServer } from "../testkit/server-process.ts";
import { cpuSeconds } from "./harness/processes.ts";

const AT_ONCE = 32;
const DAY_MS = 86_400_000;
const RESULTS = new URL("./results/usage.json", import.meta.url);
const WITHOUT_COUNTING: Mutation = {
  file: "src/usage/recorder.ts",
  find: "  record(use: Use, like?: Countable): void {\n",
  replace: "  record(use: Use, like?: Countable): void {\n    if (use !== undefined) return;\n",
};

const { DATABASE_URL = "", REDIS_URL = "" } = process.env;
const env = {
  ...{ DATABASE_URL, REDIS_URL, CLAVIGER_LOG_LEVEL: "silent" },
  CLAVIGER_ROOT_SECRETS: Buffer.alloc(32).toString("base64"),
};
const round = (value: number, digits = 2) => Math.round(value * 10 ** digits) / 10 ** digits;
const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

async function verifyMany(clients: Clients, secret: string, count: number): Promise<number> {
  const began = performance.now();
  let left = count;
  const work = async () => {
    while (left-- > 0) await clients.verifier.verify({ secret, method: "/a.B/C" });
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return (performance.now() - began) / 1000;
}

/** Server CPU of a warm verification, with counting and without, in turns. */
async function cost() {
  const token = (await bootstrapAdmin(await loadConfig(env))).secret.reveal();
  const servers: readonly ServerProcess[] = [
    await startServer({ env }),
    await startServer({ env, mutate: [WITHOUT_COUNTING] }),
  ];
  const clients = servers.map(({ url }) => connect(url, token));
  const made = await (clients[0] as Clients).keys.createKey({ owner: `cost-${process.pid}`, displayName: "k" });
  const perCall = async (at: number) => {
    const before = cpuSeconds((servers[at] as ServerProcess).pid);
    await verifyMany(clients[at] as Clients, made.secret, 8000);
    return ((cpuSeconds((servers[at] as ServerProcess).pid) - before) / 8000) * 1e6;
  };
  for (const at of [0, 1]) await perCall(at);
  const ratios: number[] = [];
  const counting: number[] = [];
  for (let turn = 0; turn < 7; turn++) {
    const [on, off] = [await perCall(0), await perCall(1)];
    counting.push(on);
    ratios.push(off / on);
  }
  await Promise.all(servers.map((server) => server.stop()));
  return {
    cpuMicrosecondsPerVerify: round(median(counting)),
    throughputRatioByCpu: round(median(ratios), 3),
    ...{ lowest: round(Math.min(...ratios), 3), highest: round(Math.max(...ratios), 3) },
  };
}

/** A million keys, each used once within a minute, on one node. */
async function keys() {
  const opened = await openStorage(await loadConfig(env));
  const { storage } = opened;
  const database = new pg.Client({ connectionString: DATABASE_URL });
  await database.connect();
  const sizeOf = async () => {
    const { rows } = await database.query(
      "select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint as bytes, coalesce(sum(c.reltuples), 0) from pg_class c where relname ~ '^(usage_|key_last_used)' and relkind = 'r'",
    );
    return Number(rows[0]?.bytes);
  };
  const before = await sizeOf();
  const recorder = new UsageRecorder({ clocks: systemClocks, budgetBytes: 64 * 1024 * 1024 });
  const ledger = {
    append: (batch: Parameters<typeof appendUsage>[1]) => storage.write((db) => appendUsage(db, batch)),
  };
  const flusher = new UsageFlusher({ recorder, ledger, random: systemRandom, clocks: systemClocks, batchRows: 20_000 });
  const [appends, folds]: [number[], number[]] = [[], []];
  const began = performance.now();
  for (let second = 0; second < 60; second++) {
    for (let i = 0; i < 16_667; i++) {
      recorder.record({
        keyId: `key_${second * 16_667 + i}`,
        callerId: "",
        version: 1,
        verdict: "valid",
        method: "/a.B/C",
        cost: 1,
      });
    }
    let at = performance.now();
    await flusher.flush();
    appends.push(performance.now() - at);
    at = performance.now();
    await foldLedger({ storage, rows: 40_000, onRejected: () => undefined });
    folds.push(performance.now() - at);
  }
  const seconds = (performance.now() - began) / 1000;
  const growth = (await sizeOf()) - before;
  await database.end();
  await opened.close();
  return {
    ...{ rowsPerBatch: 16_667, batches: flusher.counters.batches, dropped: recorder.counters },
    ...{ appendMs: round(median(appends)), foldMs: round(median(folds)), longestFoldMs: round(Math.max(...folds)) },
    ...{ secondsInAll: round(seconds), megabytes: round(growth / 1e6), bytesPerKey: round(growth / 1_000_020) },
  };
}

/** Thirty days of hours of one key, beside a thousand others. */
async function query() {
  const token = (await bootstrapAdmin(await loadConfig(env))).secret.reveal();
  const server = await startServer({ env });
  const { keys } = connect(server.url, token);
  const made = await keys.createKey({ owner: `query-${process.pid}`, displayName: "k" });
  const keyId = made.key?.id ?? "";
  const database = new pg.Client({ connectionString: DATABASE_URL });
  await database.connect();
  await database.query(
    `insert into usage_hour select date_trunc('hour', now() - hour * interval '1 hour', 'UTC'), case when key = 0 then $1 else 'key_' || key end, '', 1, 'valid', '/a.B/C', 139, 139
     from generate_series(0, 999) as key, generate_series(0, 719) as hour on conflict do nothing`,
    [keyId],
  );
  await database.query("analyze usage_hour");
  const { rows } = await database.query("select sum(count)::bigint as events from usage_hour");
  const ask = () =>
    keys.queryUsage({
      keyId,
      startTime: timestampFromMs(Date.now() - 30 * DAY_MS),
      endTime: timestampFromMs(Date.now()),
    });
  const times: number[] = [];
  const trips: number[] = [];
  for (let i = 0; i < 120; i++) {
    let at = performance.now();
    const { points } = await ask();
    if (points.length < 720) throw new Error("a month has more hours");
    if (i >= 20) times.push(performance.now() - at);
    at = performance.now();
    await database.query("select 1");
    if (i >= 20) trips.push(performance.now() - at);
  }
  await database.end();
  await server.stop();
  return {
    events: Number(rows[0]?.events),
    medianMs: round(median(times)),
    longestMs: round(Math.max(...times)),
    tripMs: round(median(trips)),
  };
}

/** One hot key with a limit that it never meets, beside one without. */
async function limit() {
  const token = (await bootstrapAdmin(await loadConfig(env))).secret.reveal();
  const server = await startServer({ env });
  const clients = connect(server.url, token);
  const owner = `limit-${process.pid}`;
  const free = await clients.keys.createKey({ owner, displayName: "k" });
  const limits = { requestsPerSecond: 1_000_000, requestsPerDay: 1_000_000_000 };
  const limited = await clients.keys.createKey({ owner, displayName: "k", limits });
  for (const { secret } of [free, limited]) await verifyMany(clients, secret, 4000);
  const rates: { free: number; limited: number }[] = [];
  for (let turn = 0; turn < 7; turn++) {
    rates.push({
      free: 8000 / (await verifyMany(clients, free.secret, 8000)),
      limited: 8000 / (await verifyMany(clients, limited.secret, 8000)),
    });
  }
  await server.stop();
  return {
    ...{ atOnce: AT_ONCE, freePerSecond: round(median(rates.map((rate) => rate.free)), 0) },
    limitedPerSecond: round(median(rates.map((rate) => rate.limited)), 0),
    ratio: round(median(rates.map((rate) => rate.limited / rate.free)), 3),
  };
}

/** Two minutes without Postgres, verified on by the revocation set. */
async function outage() {
  const cluster = await startCluster({ nodes: 1, leaseMs: 1000, onDatabaseLoss: "revocation-set" });
  try {
    const { clients, links, url } = cluster.nodes[0] as Node;
    const made = await clients.keys.createKey({ owner: "outage", displayName: "k" });
    const keyId = made.key?.id ?? "";
    let decided = 0;
    let undecided = 0;
    const ask = () =>
      clients.verifier.verify({ secret: made.secret, method: "/a.B/C" }).then(
        () => {
          decided += 1;
        },
        () => {
          undecided += 1;
        },
      );
    const warmUntil = performance.now() + 3000;
    while (performance.now() < warmUntil) await ask().then(() => sleep(5));
    await Promise.all([links.leases.refuse(), links.reads.refuse()]);
    for (const link of [links.leases, links.reads]) link.reset();
    const until = performance.now() + 120_000;
    let unsent = 0;
    const read = async (name: string) =>
      Number(new RegExp(`^${name} (\\S+)$`, "m").exec(await (await fetch(`${url}/metrics`)).text())?.[1]);
    while (performance.now() < until) {
      await ask();
      await sleep(5);
    }
    unsent = await read("claviger_usage_unsent_rows");
    await Promise.all([links.leases.resume(), links.reads.resume()]);
    await sleep(5000);
    const span = { startTime: timestampFromMs(Date.now() - DAY_MS), endTime: timestampFromMs(Date.now() + DAY_MS) };
    const { total } = await clients.keys.queryUsage({ keyId, ...span });
    return {
      seconds: 120,
      decided,
      undecided,
      ledger: Number(total),
      lost: decided - Number(total),
      unsentRowsAtItsEnd: unsent,
    };
  } finally {
    await cluster.stop();
  }
}

const PARTS = { cost, keys, query, limit, outage };
const chosen = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(PARTS);
const before = JSON.parse(
  await Promise.resolve()
    .then(() => readFileSync(RESULTS, "utf8"))
    .catch(() => "{}"),
);
const result = { ...before, node: process.version, machine: `${cpus().length} × ${cpus()[0]?.model.trim()}` };
for (const name of chosen as (keyof typeof PARTS)[]) {
  result[name] = await PARTS[name]();
  console.log(name, JSON.stringify(result[name]));
  await writeFile(RESULTS, `${JSON.stringify(result, null, 2)}\n`);
}
