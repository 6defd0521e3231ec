import { setTimeout as sleep } from "node:timers/promises";
import postgres from "postgres";
import { expect } from "vitest";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { bootstrapAdmin } from "../../src/server/bootstrap.ts";
import { loadConfig } from "../../src/server/config/config.ts";
import { type Clients, connect } from "../../testkit/connect.ts";
import { createTestDatabase } from "../../testkit/database.ts";
import { eventually } from "../../testkit/eventually.ts";
import { type ServerProcess, startServer } from "../../testkit/server-process.ts";
import { makeKey } from "../rpc/make-key.ts";

const ROOT_SECRET = Buffer.alloc(32).toString("base64");
const CALL_MS = 20_000;

/** Two servers on one database, with revocations and verifications under way all the time. */
export interface TwoNodes {
  readonly servers: readonly [ServerProcess, ServerProcess];
  readonly clients: readonly [Clients, Clients];
  /** Creates a key with so many requests a day; returns its secret. */
  makeLimited(requestsPerDay: number): Promise<string>;
  /** Asks on both nodes in turn until `isOver`, or until the key is exhausted; how many were VALID. */
  ask(secret: string, isOver?: (valid: number) => boolean): Promise<number>;
  /** `claviger_uncharged_total` of both. */
  uncharged(): Promise<number>;
  /** A value of each node's metrics. */
  metric(line: string): Promise<(number | undefined)[]>;
  /** Milliseconds of each RevokeKey since this was called last, and how many failed. */
  takeRevocations(): { readonly ms: number[]; readonly failed: number };
  /** The id that is in every name in Redis. */
  clusterId(): Promise<string>;
  /** VALID verifications that began after RevokeKey had returned OK. */
  violations(): string[];
  stop(): Promise<void>;
}

/** Starts both. The load is light: two verifiers and a revoker. */
export async function startTwoNodes(env: Readonly<Record<string, string>>): Promise<TwoNodes> {
  const database = await createTestDatabase();
  const settings = {
    ...{ DATABASE_URL: database.url, CLAVIGER_ROOT_SECRETS: ROOT_SECRET, CLAVIGER_LOG_LEVEL: "info" },
    ...env,
  };
  const servers: ServerProcess[] = [];
  let isOver = false;
  const work: Promise<void>[] = [];
  const stop = async () => {
    isOver = true;
    await Promise.all(work);
    await Promise.all(servers.map((server) => server.kill("SIGKILL")));
    await database.drop();
  };
  try {
    const token = (await bootstrapAdmin(await loadConfig(settings))).secret.reveal();
    for (let node = 0; node < 2; node++) servers.push(await startServer({ env: settings }));
    const [one, two] = servers as [ServerProcess, ServerProcess];
    const clients = [connect(one.url, token), connect(two.url, token)] as const;
    const at = (turn: number) => clients[turn % 2] as Clients;

    const live: { id: string; secret: string }[] = [];
    const revokedAtMs = new Map<string, number>();
    const violations: string[] = [];
    let limited = 0;
    let revocations = { ms: [] as number[], failed: 0 };
    const verify = async (node: number, secret: string) => {
      const began = performance.now();
      const answer = await at(node)
        .verifier.verify({ secret }, { timeoutMs: CALL_MS })
        .catch(() => undefined);
      const revoked = revokedAtMs.get(secret) ?? Number.POSITIVE_INFINITY;
      if (answer?.verdict === Verdict.VALID && began > revoked) {
        violations.push(`VALID on node ${node + 1}, ${Math.round(began - revoked)} ms after RevokeKey had returned`);
      }
    };
    const revoke = async () => {
      for (let turn = 0; !isOver; turn++) {
        try {
          live.push(await makeKey(at(turn), { owner: `o${turn}` }));
          if (live.length < 5) continue;
          const { id, secret } = live.shift() as { id: string; secret: string };
          const began = performance.now();
          await at(turn).keys.revokeKey({ keyId: id }, { timeoutMs: CALL_MS });
          revokedAtMs.set(secret, performance.now());
          revocations.ms.push(performance.now() - began);
          await Promise.all([verify(0, secret), verify(1, secret)]);
        } catch {
          revocations.failed += 1;
        }
        await sleep(50);
      }
    };
    const verifyAll = async (node: number) => {
      const recent: string[] = [];
      for (let turn = 0; !isOver; turn++) {
        const known = live[turn % Math.max(1, live.length)]?.secret;
        if (known !== undefined) recent.push(known);
        if (recent.length > 50) recent.shift();
        const secret = turn % 2 === 0 ? known : recent[turn % Math.max(1, recent.length)];
        if (secret !== undefined) await verify(node, secret);
        await sleep(20);
      }
    };
    work.push(revoke(), verifyAll(0), verifyAll(1));

    const metric = (line: string) =>
      Promise.all(
        [one, two].map(async ({ url }) => {
          const text = await (await fetch(`${url}/metrics`)).text();
          const found = text.split("\n").find((each) => each.startsWith(`${line} `));
          return found === undefined ? undefined : Number(found.slice(line.length + 1));
        }),
      );
    return {
      servers: [one, two],
      ...{ clients, metric, stop },
      violations: () => violations,
      clusterId: async () => {
        const sql = postgres(database.url, { max: 1 });
        try {
          const [row] = await sql`select cluster_id from revision`;
          return String(row?.cluster_id);
        } finally {
          await sql.end();
        }
      },
      uncharged: async () => {
        const [first = 0, second = 0] = await metric("claviger_uncharged_total");
        return first + second;
      },
      takeRevocations: () => {
        const taken = revocations;
        revocations = { ms: [], failed: 0 };
        return taken;
      },
      makeLimited: async (requestsPerDay) =>
        (await makeKey(clients[0], { owner: `limited ${++limited}`, limits: { requestsPerDay } })).secret,
      async ask(secret, isEnough = () => false) {
        let valid = 0;
        let exhausted = false;
        const asker = async (node: number) => {
          while (!exhausted && !isEnough(valid)) {
            const { verdict } = await at(node).verifier.verify({ secret }, { timeoutMs: CALL_MS });
            if (verdict === Verdict.VALID) valid += 1;
            if (verdict === Verdict.QUOTA_EXHAUSTED) exhausted = true;
            await sleep(20);
          }
        };
        await Promise.all([asker(0), asker(1)]);
        return valid;
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** A renewal comes every 750 ms: what is faster came through Redis. */
const FAST_MS = 600;
/** As long as a server may be silent, an election, and what a busy machine adds. */
export const FOLLOWED_MS = 60_000;

/** Asks until every request is charged again; says after how long that was, and how many were let through till then. */
export async function untilCharged(nodes: TwoNodes, beganMs: number): Promise<string> {
  const before = await nodes.uncharged();
  // Of a cluster, more than one node is to have charged.
  const secrets = await Promise.all(Array.from({ length: 12 }, () => nodes.makeLimited(1_000_000)));
  await eventually(
    async () => {
      const earlier = await nodes.uncharged();
      await Promise.all(
        secrets.map(async (secret) => {
          let asked = 0;
          await nodes.ask(secret, () => ++asked > 4);
        }),
      );
      expect(await nodes.uncharged()).toBe(earlier);
    },
    { withinMs: FOLLOWED_MS },
  );
  const seconds = ((performance.now() - beganMs) / 1000).toFixed(1);
  return `charged again after ${seconds} s, ${(await nodes.uncharged()) - before} let through`;
}

/** Limits are charged exactly, revocations come through Redis, and none was broken. */
export async function expectWell(nodes: TwoNodes): Promise<string> {
  let wrong: number | undefined;
  await eventually(
    async () => {
      const before = await nodes.uncharged();
      const limited = await Promise.all(Array.from({ length: 4 }, () => nodes.makeLimited(30)));
      const valid = await Promise.all(limited.map((secret) => nodes.ask(secret)));
      // A busy machine lets one through now and then; that is counted, and asked again.
      expect(await nodes.uncharged()).toBe(before);
      wrong ??= valid.find((count) => count !== 30);
    },
    { withinMs: FOLLOWED_MS },
  );
  expect(wrong).toBeUndefined();
  await eventually(
    async () => {
      nodes.takeRevocations();
      await sleep(2000);
      expect(median(nodes.takeRevocations().ms)).toBeLessThan(FAST_MS);
    },
    { withinMs: FOLLOWED_MS },
  );
  await sleep(2000);
  const { ms, failed } = nodes.takeRevocations();
  expect(nodes.violations()).toEqual([]);
  return `revocations: median ${Math.round(median(ms))} ms of ${ms.length}, ${failed} failed`;
}

/** The middle one, NaN without any. */
export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
