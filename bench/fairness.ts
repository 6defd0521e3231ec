import { fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Clients, connect } from "../testkit/connect.ts";
import { createTestUsers } from "../testkit/test-users.ts";
import { FLOODS, type FloodName } from "./fairness/kinds.ts";
import { type Answer, type Bench, median, rounded, spread } from "./harness/bench.ts";
import { openPlace } from "./harness/claviger.ts";

const FLOOD = fileURLToPath(new URL("./fairness/flood.ts", import.meta.url));
const WARM_UP = 20;
const ROUNDS = 3;
const REVOCATIONS = 20;
const KEYS_PER_OWNER = 10;
/** Until the flood is under way. */
const RISE_MS = 1000;
/** Until what the flood has left is done. */
const SETTLE_MS = 1000;

export const bench: Bench = {
  id: "fairness",
  question: "median of an administrator's `RevokeKey` while one user floods management",
  reference: "the same without a flood, in turns with it",
  goal: 10,
  run,
};

async function run(): Promise<Answer> {
  const users = createTestUsers();
  const place = await openPlace(0);
  // The rate of one user would end the floods soon: here the turns are measured. On a busy machine a process that gets no
  // CPU for a second would lose its transactions, which is another question.
  const policy = JSON.stringify({
    manage: { userChangeBurst: 1_000_000 },
    postgres: { idleInTransactionTimeoutMs: 30_000, probeTimeoutMs: 30_000 },
  });
  const server = await place.serve({ ...users.settings, CLAVIGER_LOG_LEVEL: "error", CLAVIGER_POLICY: policy });
  const admin = connect(server.url, place.token);
  const eve = users.token("eve");
  for (let key = 0; key < KEYS_PER_OWNER; key++) {
    await admin.keys.createKey({ owner: "acme:eve", displayName: "k" });
  }
  const [{ id } = { id: "" }] = (await admin.keys.listKeys({ owner: "acme:eve" })).keys;
  await revokeOneByOne(admin, await makeKeys(admin, WARM_UP));

  const kinds: Record<string, unknown> = {};
  const ratios: number[] = [];
  for (const kind of Object.keys(FLOODS) as FloodName[]) {
    const [quiet, flooded]: [number[], number[]] = [[], []];
    const ends: Record<string, number>[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      quiet.push(...(await revokeOneByOne(admin, await makeKeys(admin, REVOCATIONS))));
      const keyIds = await makeKeys(admin, REVOCATIONS);
      const stop = await startFlood(server.url, [eve, kind, id]);
      flooded.push(...(await revokeOneByOne(admin, keyIds)));
      ends.push(await stop());
      await sleep(SETTLE_MS);
    }
    const ratio = median(flooded) / median(quiet);
    ratios.push(ratio);
    const { calls } = FLOODS[kind];
    kinds[kind] = { ratio: rounded(ratio), inFlight: calls, quietMs: spread(quiet), floodedMs: spread(flooded), ends };
    console.error(kind, kinds[kind]);
  }
  await place.stop();
  users.remove();
  return { ratio: Math.max(...ratios), figures: { rounds: ROUNDS, revocationsPerRound: REVOCATIONS, kinds } };
}

/** Ids of new keys, each of another owner. To be made while it is quiet: `CreateKey` has no reserved room. */
async function makeKeys({ keys }: Clients, count: number): Promise<string[]> {
  const made = await Promise.all(
    Array.from({ length: count }, (_, key) => keys.createKey({ owner: `other-${key}`, displayName: "k" })),
  );
  return made.map(({ key }) => key?.id ?? "");
}

/** Milliseconds of each; rejects if one is not OK. */
async function revokeOneByOne({ keys }: Clients, keyIds: readonly string[]): Promise<number[]> {
  const took: number[] = [];
  for (const keyId of keyIds) {
    const began = performance.now();
    await keys.revokeKey({ keyId });
    took.push(performance.now() - began);
  }
  return took;
}

/** Returns what ends the flood and says how its calls ended. */
async function startFlood(url: string, args: readonly string[]): Promise<() => Promise<Record<string, number>>> {
  const flood = fork(FLOOD, [url, ...args], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  process.once("exit", () => flood.kill("SIGKILL"));
  await once(flood, "message");
  await sleep(RISE_MS);
  return async () => {
    const told = once(flood, "message");
    flood.kill("SIGTERM");
    const [ends] = await told;
    return ends;
  };
}
