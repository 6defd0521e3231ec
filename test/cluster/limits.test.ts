import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { describeWithPostgres, describeWithRedis } from "../../testkit/describe-with.ts";
import { type Cluster, type Node, startCluster } from "../chaos/cluster.ts";

const QUOTA = 5000;
const REQUESTS = 10_000;
/** Small enough for the clients' process, which shares two cores with the servers. */
const AT_ONCE = 300;
const PER_CALL = 10;
/** A busy machine must not look like a Redis that is away. */
const PATIENT = {
  CLAVIGER_POLICY: JSON.stringify({ usage: { limiterTimeoutMs: 5000 } }),
  CLAVIGER_ON_LIMITER_LOSS: "deny",
};

interface Outcomes {
  valid: number;
  exhausted: number;
  limited: number;
  /** Whether it was charged nobody knows. */
  unknown: number;
}

describeWithPostgres("limits", () => {
  describeWithRedis("over three nodes", () => {
    let cluster: Cluster;
    let nodes: readonly Node[];
    let owners = 0;

    beforeAll(async () => {
      cluster = await startCluster({ nodes: 3, leaseMs: 2000, onDatabaseLoss: "deny", env: PATIENT });
      nodes = cluster.nodes;
    });
    afterAll(() => cluster?.stop());

    const at = (index: number) => nodes[index] as Node;
    const make = async (limits: { requestsPerSecond?: number; burst?: number; requestsPerDay?: number }) => {
      const { key, secret } = await at(0).clients.keys.createKey({ owner: `o${++owners}`, displayName: "k", limits });
      return { keyId: key?.id ?? "", secret };
    };

    /** Asks `count` times, up to `AT_ONCE` at a time, a few to a call; `choose` says which node each call goes to. */
    async function ask(secret: string, count: number, choose: (turn: number) => number): Promise<Outcomes> {
      const outcomes = { valid: 0, exhausted: 0, limited: 0, unknown: 0 };
      const requests = Array.from({ length: PER_CALL }, () => ({ secret }));
      let turn = 0;
      const work = async () => {
        while (turn < count / PER_CALL) {
          const { clients } = at(choose(turn++));
          await clients.verifier.batchVerify({ requests }, { timeoutMs: 20_000 }).then(
            ({ responses }) => {
              for (const { verdict } of responses) {
                if (verdict === Verdict.VALID) outcomes.valid += 1;
                if (verdict === Verdict.QUOTA_EXHAUSTED) outcomes.exhausted += 1;
                if (verdict === Verdict.RATE_LIMITED) outcomes.limited += 1;
              }
            },
            () => {
              outcomes.unknown += PER_CALL;
            },
          );
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE / PER_CALL }, work));
      return outcomes;
    }

    describe(`of ${QUOTA} a day let exactly ${QUOTA} of ${REQUESTS} through`, () => {
      it.each([
        ["evenly spread", (turn: number) => turn % 3],
        ["98 of 100 at one node", (turn: number) => (turn % 100 < 98 ? 0 : (turn % 2) + 1)],
      ])("%s", async (_, choose) => {
        const { secret } = await make({ requestsPerDay: QUOTA });
        expect(await ask(secret, REQUESTS, choose)).toEqual({
          ...{ valid: QUOTA, exhausted: REQUESTS - QUOTA, limited: 0, unknown: 0 },
        });
      });

      it("control: where each node counts for itself, more get through", async () => {
        const alone = {
          ...PATIENT,
          CLAVIGER_POLICY: JSON.stringify({ usage: { limiterTimeoutMs: 5000, flushMs: 600_000 } }),
        };
        const mutate = [
          {
            file: "src/redis/names.ts",
            // biome-ignore lint/suspicious/noTemplateCurlyInString: source text
            find: "limits: (keyId: string) => `claviger:{${clusterId}:${keyId}}:limits`",
            // biome-ignore lint/suspicious/noTemplateCurlyInString: source text
            replace: "limits: (keyId: string) => `claviger:{${clusterId}:${keyId}:${process.pid}}:limits`",
          },
        ];
        const other = await startCluster({ nodes: 2, leaseMs: 2000, onDatabaseLoss: "deny", env: alone, mutate });
        try {
          const [one, two] = other.nodes as [Node, Node];
          const made = await one.clients.keys.createKey({
            owner: "o",
            displayName: "k",
            limits: { requestsPerDay: 5 },
          });
          let valid = 0;
          for (const { clients } of [one, one, one, one, two, two, two, two]) {
            valid += (await clients.verifier.verify({ secret: made.secret })).verdict === Verdict.VALID ? 1 : 0;
          }
          expect(valid).toBe(8);
        } finally {
          await other.stop();
        }
      });
    });

    it("of 100 a second let through no more than a burst and the rate, and no less while enough come", async () => {
      const { secret } = await make({ requestsPerSecond: 100, burst: 100 });
      const began = performance.now();
      let last = began;
      let asked = 0;
      let valid = 0;
      const work = async (node: number) => {
        while (performance.now() - began < 5000) {
          asked += 1;
          const { verdict } = await at(node).clients.verifier.verify({ secret });
          last = performance.now();
          if (verdict === Verdict.VALID) valid += 1;
          await sleep(5);
        }
      };
      await Promise.all([0, 0, 1, 1, 2, 2].map(work));
      const seconds = (last - began) / 1000;
      expect(valid).toBeLessThanOrEqual(100 + 100 * seconds);
      // A slow machine does not ask often enough to use all of it up.
      expect(valid).toBeGreaterThanOrEqual(Math.min(500, 0.8 * asked));
    });

    it("are never exceeded when a node is killed, and fall short by no more than it had under way", async () => {
      const { secret } = await make({ requestsPerDay: 2000 });
      const asking = ask(secret, 4000, (turn) => turn % 3);
      await sleep(100);
      await at(2).server.kill("SIGKILL");
      await at(2).restart();
      const { valid, unknown } = await asking;
      expect(valid).toBeLessThanOrEqual(2000);
      expect(valid).toBeGreaterThanOrEqual(2000 - unknown);
    });

    it("that are lowered while in use hold from the answer on", async () => {
      const { keyId, secret } = await make({ requestsPerDay: 1000 });
      expect((await ask(secret, 600, (turn) => turn % 3)).valid).toBe(600);
      await at(1).clients.keys.updateKey({
        key: { id: keyId, limits: { requestsPerDay: 500 } },
        updateMask: { paths: ["limits"] },
      });
      expect(await ask(secret, 90, (turn) => turn % 3)).toMatchObject({ valid: 0, exhausted: 90 });
    });

    it("of a day are seeded from the ledger when Redis has lost them, over by no more than was not flushed", async () => {
      const { secret } = await make({ requestsPerDay: 1000 });
      expect((await ask(secret, 500, (turn) => turn % 3)).valid).toBe(500);
      await sleep(2500);
      const redis = new Redis(cluster.redis.url);
      await redis.flushall();
      redis.disconnect();
      expect((await ask(secret, 1000, (turn) => turn % 3)).valid).toBe(500);
    });
  });
});

describeWithPostgres("without Redis", () => {
  describeWithRedis("that answers", () => {
    it.each([
      ["allow", Verdict.VALID],
      ["deny", undefined],
    ] as const)("a key with limits is let through, or not, as set (%s), in a bounded time", async (onLoss, verdict) => {
      const cluster = await startCluster({
        ...{ nodes: 1, leaseMs: 2000, onDatabaseLoss: "deny", env: { CLAVIGER_ON_LIMITER_LOSS: onLoss } },
      });
      try {
        const { clients, links } = cluster.nodes[0] as Node;
        const limits = { requestsPerDay: 3 };
        const { secret } = await clients.keys.createKey({ owner: "o", displayName: "k", limits });
        const free = await clients.keys.createKey({ owner: "o", displayName: "k" });
        for (const one of [secret, free.secret]) await clients.verifier.verify({ secret: one });
        links.redis.hang();
        const asked = () => clients.verifier.verify({ secret });
        const began = performance.now();
        if (verdict === undefined) await expect(asked()).rejects.toThrow("what counts them does not answer");
        else expect((await asked()).verdict).toBe(verdict);
        // The bound is a tenth of a second; the rest is for a busy machine.
        expect(performance.now() - began).toBeLessThan(1500);
        expect((await clients.verifier.verify({ secret: free.secret })).verdict).toBe(Verdict.VALID);
      } finally {
        await cluster.stop();
      }
    });
  });
});
