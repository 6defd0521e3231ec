/**
 * The cost of sealing the audit chain for its writers: creates per second through one server, with sealing every second
 * and without, in turns on the same Postgres. `DATABASE_URL=postgres://… node bench/audit-sealing.ts`
 */
import { writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { bootstrapAdmin } from "../src/server/bootstrap.ts";
import { loadConfig } from "../src/server/config/config.ts";
import { serve } from "../src/server/serve.ts";
import { connect } from "../testkit/connect.ts";

const TURNS = 5;
const CREATES = 1500;
const AT_ONCE = 16;
const NEVER_MS = 2 ** 30;

const environment = { ...process.env, CLAVIGER_LISTEN: "127.0.0.1:0", CLAVIGER_LOG_LEVEL: "silent" };

async function createsPerSecond(name: string, policy: object): Promise<number> {
  const config = await loadConfig({ ...environment, CLAVIGER_POLICY: JSON.stringify(policy) });
  const { secret } = await bootstrapAdmin(config);
  const server = await serve({
    config,
    announce: () => undefined,
    version: "bench",
    command: "claviger",
    isTerminal: true,
  });
  const { keys } = connect(server.url, secret.reveal());
  let next = 0;
  const worker = async () => {
    while (next < CREATES) await keys.createKey({ owner: `${name}-${next++}`, displayName: "bench" });
  };
  const start = performance.now();
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  const seconds = (performance.now() - start) / 1000;
  await server.close();
  return CREATES / seconds;
}

const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

const sealed: number[] = [];
const unsealed: number[] = [];
await createsPerSecond("warm-up", {});
for (let turn = 0; turn < TURNS; turn++) {
  const id = `${process.pid}-${turn}`;
  unsealed.push(await createsPerSecond(`without-${id}`, { audit: { sealEveryMs: NEVER_MS } }));
  sealed.push(await createsPerSecond(`with-${id}`, {}));
}
const ratio = median(sealed.map((rate, turn) => rate / (unsealed[turn] ?? rate)));
const result = {
  question: "creates per second with the audit chain sealed every second, against never",
  node: process.version,
  machine: `${cpus().length} × ${cpus()[0]?.model.trim()}`,
  creates: CREATES,
  atOnce: AT_ONCE,
  sealedPerSecond: sealed.map(Math.round),
  unsealedPerSecond: unsealed.map(Math.round),
  medianRatio: Math.round(ratio * 1000) / 1000,
};
await writeFile(new URL("./results/audit-sealing.json", import.meta.url), `${JSON.stringify(result, null, 2)}\n`);
console.log(result);
