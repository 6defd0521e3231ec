import { expect, it, onTestFinished } from "vitest";
import { TEST_ROOT_SECRET } from "../../testkit/claviger.ts";
import { createTestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres, describeWithRedis } from "../../testkit/describe-with.ts";
import { startRedisCluster } from "../../testkit/redis-cluster.ts";
import { startRedisSentinel } from "../../testkit/redis-sentinel.ts";
import { startRedisServer } from "../../testkit/redis-server.ts";
import { startServer } from "../../testkit/server-process.ts";

/** Of each kind: where it is, and its servers but for the sentinels. */
const KINDS = {
  "one server": async () => {
    const redis = await startRedisServer();
    return { url: redis.url, servers: [redis], stop: redis.stop };
  },
  Sentinel: () => startRedisSentinel({ downAfterMs: 600_000 }),
  Cluster: async () => {
    const { url, nodes, stop } = await startRedisCluster();
    return { url, servers: nodes, stop };
  },
};

describeWithPostgres("a server", () => {
  describeWithRedis("whose Redis is away", () => {
    it.each(Object.entries(KINDS))("ends when it is told to: %s", async (_name, startRedis) => {
      const [database, redis] = await Promise.all([createTestDatabase(), startRedis()]);
      onTestFinished(async () => {
        await redis.stop();
        await database.drop();
      });
      const env = { CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET, DATABASE_URL: database.url, REDIS_URL: redis.url };
      const server = await startServer({ env: { ...env, CLAVIGER_LOG_LEVEL: "silent" } });
      for (const each of redis.servers) each.kill("SIGKILL");
      expect(await server.stop()).toBe(0);
    });
  });
});
