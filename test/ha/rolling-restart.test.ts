import { afterEach, expect, it } from "vitest";
import {
  describeWithPgBouncer,
  describeWithPostgres,
  describeWithRedis,
  describeWithStandby,
} from "../../testkit/describe-with.ts";
import { type Cluster, type ClusterOptions, type Node, startCluster } from "../chaos/cluster.ts";
import type { Standbys } from "../chaos/places.ts";
import { type RollingLoad, startRollingLoad } from "./rolling-load.ts";

const OPTIONS: ClusterOptions = { nodes: 3, leaseMs: 1500, onDatabaseLoss: "deny" };
const LIMIT_MS = 600_000;

function told({ succeeded, failed, retried, longestMs, history }: RollingLoad): string {
  const reasons = Object.entries(Object.groupBy(failed, (line) => line));
  const failures = Object.fromEntries(reasons.map(([line, lines = []]) => [line, lines.length]));
  return JSON.stringify({ succeeded, failures, retried, longestMs, violations: history.violations }, null, 2);
}

describeWithPostgres("three nodes that are restarted one after the other, under load,", () => {
  describeWithRedis("with Redis", () => {
    const cleanUps: (() => Promise<unknown>)[] = [];
    afterEach(async () => {
      for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
    });

    async function start(options: ClusterOptions, attempts?: number) {
      const cluster = await startCluster(options);
      cleanUps.push(() => cluster.stop());
      const load = startRollingLoad(cluster, attempts === undefined ? {} : { attempts });
      cleanUps.push(() => load.stop());
      await load.progress();
      return { cluster, load };
    }

    async function restart(node: Node): Promise<void> {
      expect(await node.server.stop()).toBe(0);
      await node.restart();
    }

    it(
      "fail no call of a client that retries, nor of agents, and never say VALID of a revoked key",
      async () => {
        const { cluster, load } = await start(OPTIONS);
        for (const node of cluster.nodes) {
          await restart(node);
          await load.progress();
        }
        await load.stop();
        console.log(`rolling restart: ${told(load)}`);
        expect(load.failed, told(load)).toEqual([]);
        expect(load.history.violations).toEqual([]);
      },
      LIMIT_MS,
    );

    it(
      "control: fail calls of a client that does not retry, when they are killed instead",
      async () => {
        const { cluster, load } = await start(OPTIONS, 1);
        for (let round = 0; load.failed.length === 0 && round < 5; round++) {
          for (const node of cluster.nodes) {
            await node.server.kill("SIGKILL");
            await node.restart();
            await load.progress();
          }
        }
        await load.stop();
        expect(load.failed.length).toBeGreaterThan(0);
        expect(load.history.violations).toEqual([]);
      },
      LIMIT_MS,
    );

    describeWithStandby("and standbys of Postgres and Redis", () => {
      describeWithPgBouncer("behind PgBouncer", () => {
        const standbysOf = ({ standbys }: Cluster): Standbys => {
          if (standbys === undefined) throw new Error("the cluster has no standbys");
          return standbys;
        };

        it(
          "never say VALID of a revoked key, and serve again after a failover of each in the middle",
          async () => {
            const { cluster, load } = await start({ ...OPTIONS, standbys: "sentinel" });
            const { pair, redis, followPrimary } = standbysOf(cluster);
            const [first, second, third] = cluster.nodes as [Node, Node, Node];
            await restart(first);
            await load.progress();
            if (!("sentinels" in redis)) throw new Error("the Redis is no Sentinel");
            const master = await redis.master();
            const restarting = restart(second);
            master.kill("SIGKILL");
            await redis.masterLeaves(master);
            await restarting;
            await load.progress();
            const failedForRedis = load.failed.length;
            // The start of the last node meets a database that is away, and waits for it.
            expect(await third.server.stop()).toBe(0);
            await pair.killPrimary();
            const starting = third.restart();
            await pair.promote();
            followPrimary();
            await starting;
            await load.progress();
            await pair.rejoin();
            await load.progress();
            await load.stop();
            console.log(`rolling restart with failovers, ${failedForRedis} failed for Redis: ${told(load)}`);
            expect(failedForRedis).toBe(0);
            expect(load.history.violations).toEqual([]);
            // What failed could not be decided or done, and says so: it is no denial and no defect.
            const unexplained = load.failed.filter((line) => !/UNAVAILABLE|DEADLINE_EXCEEDED|unavailable/i.test(line));
            expect(unexplained, told(load)).toEqual([]);
          },
          LIMIT_MS,
        );
      });
    });
  });
});
