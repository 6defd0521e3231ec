/**
 * S1 to S3: server CPU of a unary gRPC `Verify`, warm, among 100,000 keys, one process, with everything on, beside a
 * bare HTTP/2 exchange, an empty connect-node handler and an empty grpc-js server in the same run.
 * `DATABASE_URL=postgres://… REDIS_URL=redis://… node bench/verify-speed.ts [keys] [turns]`; the database should be an empty one.
 */
import { writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { create, toBinary } from "@bufbuild/protobuf";
import { VerifyRequestSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { bootstrapAdmin } from "../src/server/bootstrap.ts";
import { loadConfig } from "../src/server/config.ts";
import { openStorage } from "../src/server/open-storage.ts";
import { connect } from "../test/support/connect.ts";
import { type LoadResult, load } from "./harness/load.ts";
import { makeKeys } from "./harness/many-keys.ts";
import { type BenchServer, cpuSeconds, residentMegabytes, startProcess } from "./harness/processes.ts";

const KEYS = Number(process.argv[2] ?? 100_000);
const TURNS = Number(process.argv[3] ?? 9);
const REQUESTS = 20_000;
const PATH = "/claviger.v1.KeyVerifier/Verify";

const { DATABASE_URL = "", REDIS_URL = "" } = process.env;
const env = {
  ...{ DATABASE_URL, REDIS_URL, CLAVIGER_LISTEN: "127.0.0.1:0" },
  CLAVIGER_ROOT_SECRETS: Buffer.alloc(32).toString("base64"),
};
const local = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const round = (value: number, digits = 2) => Math.round(value * 10 ** digits) / 10 ** digits;
const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

function frame(secret: string): Buffer {
  const message = toBinary(
    VerifyRequestSchema,
    create(VerifyRequestSchema, { secret, method: "/orders.v1.Orders/Place" }),
  );
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

const config = await loadConfig(env);
const token = (await bootstrapAdmin(config)).secret.reveal();
const opened = await openStorage(config);
const secrets = await makeKeys(opened, KEYS);
await opened.close();
const frames = secrets.map(frame);

const servers: Record<string, BenchServer> = {
  claviger: await startProcess(local("../bin/claviger.js"), ["serve"], env),
};
for (const name of ["bare", "connect", "grpc-js"]) {
  servers[name] = await startProcess(local("./harness/reference-server.ts"), [name]);
}
const { verifier } = connect(servers.claviger?.url ?? "", token);
for (let from = 0; from < secrets.length; from += 100) {
  await verifier.batchVerify({ requests: secrets.slice(from, from + 100).map((secret) => ({ secret })) });
}

interface Turn extends LoadResult {
  readonly cpuMicroseconds: number;
}

async function measure(name: string, requests = REQUESTS): Promise<Turn> {
  const server = servers[name] as BenchServer;
  const before = cpuSeconds(server.pid);
  const result = await load({
    ...{ url: server.url, path: PATH, headers: { authorization: `Bearer ${token}` }, requests },
    ...{ connections: 4, streams: 32, body: (turn: number) => frames[(turn * 7919) % frames.length] as Buffer },
  });
  if (result.failures > 0) throw new Error(`${name}: ${result.failures} calls failed`);
  return { ...result, cpuMicroseconds: ((cpuSeconds(server.pid) - before) / requests) * 1e6 };
}

const turns: Record<string, Turn[]> = {};
for (const name of Object.keys(servers)) await measure(name, REQUESTS);
for (let turn = 0; turn < TURNS; turn++) {
  for (const name of Object.keys(servers)) {
    turns[name] ??= [];
    turns[name].push(await measure(name));
  }
}
const describe = (name: string) => {
  const own = turns[name] ?? [];
  const at = (share: number) =>
    median(own.map(({ latencies }) => latencies[Math.floor(latencies.length * share)] ?? 0));
  return {
    cpuMicroseconds: round(median(own.map(({ cpuMicroseconds }) => cpuMicroseconds)), 1),
    perSecond: round(median(own.map(({ seconds }) => REQUESTS / seconds)), 0),
    ...{ p50Ms: round(at(0.5)), p99Ms: round(at(0.99)) },
  };
};
const ratio = (name: string) =>
  round(
    median((turns.claviger ?? []).map((turn, at) => turn.cpuMicroseconds / (turns[name]?.[at]?.cpuMicroseconds ?? 1))),
    3,
  );
const result = {
  question: "server CPU of a warm unary gRPC Verify, against the least that three servers take",
  ...{
    node: process.version,
    machine: `${cpus().length} × ${cpus()[0]?.model.trim()}`,
    keys: KEYS,
    turns: TURNS,
    requests: REQUESTS,
  },
  claviger: { ...describe("claviger"), residentMegabytes: round(residentMegabytes(servers.claviger?.pid ?? 0), 0) },
  ...{ bareHttp2: describe("bare"), connectNode: describe("connect"), grpcJs: describe("grpc-js") },
  s1: { ratio: ratio("bare"), goal: 1.429 },
  s2: { ratio: ratio("connect"), goal: 0.167 },
  s3: { ratio: ratio("grpc-js"), goal: 0.769 },
};
await writeFile(new URL("./results/verify-speed.json", import.meta.url), `${JSON.stringify(result, null, 2)}\n`);
console.log(JSON.stringify(result, null, 2));
await Promise.all(Object.values(servers).map((server) => server.stop()));
