import { setTimeout as sleep } from "node:timers/promises";
import { Freshness, Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { createVerifier } from "../../src/sdk/index.ts";
import { eventually } from "../../testkit/eventually.ts";
import type { Cluster } from "../chaos/cluster.ts";
import { type CachedSecret, History } from "../chaos/history.ts";
import { hostMs } from "../chaos/host-clock.ts";
import { createGrpcJsClient } from "../clients/grpc-js.ts";

const VERIFIERS = 3;
const REVOKERS = 2;
const AGENTS = 2;
/** Far above what a call takes, with its attempts: a slow machine must not end it. */
const CALL_MS = 60_000;
const PROGRESS = { withinMs: 120_000 };
const METHODS = ["Verify", "CreateKey", "RevokeKey", "agent"] as const;

/** What calls; `agent` is a verification by the SDK, from memory or over the wire. */
export type Method = (typeof METHODS)[number];

export interface RollingLoad {
  readonly history: History;
  readonly succeeded: Readonly<Record<Method, number>>;
  /** `RevokeKey: 14 UNAVAILABLE: storage does not answer`, each call that failed. */
  readonly failed: readonly string[];
  /** Calls that took more than one attempt. */
  readonly retried: number;
  /** Longest call, with its attempts, in milliseconds. */
  readonly longestMs: number;
  /** Resolves once calls of every kind have succeeded that began after this was called. */
  progress(): Promise<void>;
  stop(): Promise<void>;
}

const SERVICES = ["claviger.v1.KeyVerifier", "claviger.v1.KeyManagement"];

/** As docs/operate/upgrade.md describes clients that survive restarts: all nodes in turn, `attempts` at each call. */
function channelOf(attempts: number) {
  const retryPolicy = {
    ...{ maxAttempts: attempts, initialBackoff: "0.3s", maxBackoff: "2s", backoffMultiplier: 2 },
    retryableStatusCodes: ["UNAVAILABLE"],
  };
  const config = {
    loadBalancingConfig: [{ round_robin: {} }],
    methodConfig: [{ name: SERVICES.map((service) => ({ service })), ...(attempts > 1 ? { retryPolicy } : {}) }],
  };
  return {
    "grpc.service_config": JSON.stringify(config),
    // Else a node that was down for a while is not tried for as long as that.
    ...{ "grpc.initial_reconnect_backoff_ms": 200, "grpc.max_reconnect_backoff_ms": 1000 },
    ...(attempts > 1 ? {} : { "grpc.enable_retries": 0 }),
  };
}

/** Verifies, creates and revokes by a grpc-js client over all nodes, and verifies by agents, all the time. */
export function startRollingLoad({ nodes, token }: Cluster, { attempts = 5 } = {}): RollingLoad {
  const places = nodes.map(({ url }) => new URL(url).host);
  const client = createGrpcJsClient({ address: `ipv4:${places.join(",")}`, token, channel: channelOf(attempts) });
  const agents = Array.from({ length: AGENTS }, () =>
    createVerifier({ url: nodes.map(({ url }) => url), token, reportEveryMs: 1000, timeoutMs: CALL_MS }),
  );
  const history = new History();
  const known: CachedSecret[] = [];
  const succeeded: Record<Method, number> = { Verify: 0, CreateKey: 0, RevokeKey: 0, agent: 0 };
  const failed: string[] = [];
  let retried = 0;
  let longestMs = 0;
  let isOver = false;
  let owners = 0;

  /** What the call gives; undefined if it failed. */
  async function counted<T>(method: Method, call: () => Promise<T>): Promise<T | undefined> {
    const began = hostMs();
    try {
      const result = await call();
      succeeded[method] += 1;
      return result;
    } catch (error) {
      failed.push(`${method}: ${error instanceof Error ? error.message : error}`);
      await sleep(50);
      return undefined;
    } finally {
      longestMs = Math.max(longestMs, hostMs() - began);
    }
  }
  const ask = (method: Exclude<Method, "agent">, request: Readonly<Record<string, unknown>>) =>
    counted(method, async () => {
      const service = method === "Verify" ? "KeyVerifier" : "KeyManagement";
      const { message, earlierAttempts } = await client.call(`${service}/${method}`, request, { timeoutMs: CALL_MS });
      if (earlierAttempts > 0) retried += 1;
      return message;
    });
  let turn = 0;
  const next = () => {
    const recent = known.slice(-20);
    turn += 1;
    return recent[turn % Math.max(1, recent.length)];
  };

  async function verify(): Promise<void> {
    const one = next();
    if (one === undefined) return;
    const call = { by: "grpc-js", began: hostMs(), narrow: false };
    const answer = await ask("Verify", { secret: one.secret });
    const verdict = answer?.verdict === "VERDICT_VALID" ? Verdict.VALID : Verdict.UNSPECIFIED;
    if (answer !== undefined) history.verified(one, call, { verdict, freshness: Freshness.UNSPECIFIED });
  }

  async function verifyIn(agent: (typeof agents)[number]): Promise<void> {
    const one = next();
    if (one === undefined) return;
    const call = { by: "agent", began: hostMs(), narrow: false };
    const found = agent.verifySync(one.secret);
    const answer = found === "ask" ? await counted("agent", () => agent.verify(one.secret)) : found;
    if (found !== "ask") succeeded.agent += 1;
    if (answer !== undefined) history.verified(one, call, { ...answer, freshness: Freshness.UNSPECIFIED });
  }

  async function revoke(): Promise<void> {
    const created = await ask("CreateKey", { owner: `rolling-${owners++}`, display_name: "k" });
    const key = created?.key as { readonly id: string } | undefined;
    if (key === undefined) return;
    const one: CachedSecret = {
      ...{ keyId: key.id, secret: String(created?.secret), deadFrom: undefined, narrowFrom: undefined },
      holders: new Map(),
    };
    known.push(one);
    await sleep(100);
    while (one.deadFrom === undefined && !isOver) {
      history.began();
      if ((await ask("RevokeKey", { key_id: key.id })) !== undefined) one.deadFrom = hostMs();
      history.ended();
    }
  }

  const repeat = async (work: () => Promise<void>) => {
    while (!isOver) {
      await work();
      await sleep(5);
    }
  };
  const all = [
    ...Array.from({ length: VERIFIERS }, () => repeat(verify)),
    ...Array.from({ length: REVOKERS }, () => repeat(revoke)),
    ...agents.map((agent) => repeat(() => verifyIn(agent))),
  ];
  return {
    ...{ history, succeeded, failed },
    get retried() {
      return retried;
    },
    get longestMs() {
      return Math.round(longestMs);
    },
    async progress() {
      const before = { ...succeeded };
      await eventually(() => {
        // More than were under way.
        const behind = METHODS.filter((method) => succeeded[method] < before[method] + VERIFIERS + REVOKERS);
        if (behind.length > 0) throw new Error(`no progress of ${behind}; the last failures: ${failed.slice(-5)}`);
      }, PROGRESS);
    },
    async stop() {
      isOver = true;
      await Promise.all(all);
      client.close();
      await Promise.all(agents.map((agent) => agent.close()));
    },
  };
}
