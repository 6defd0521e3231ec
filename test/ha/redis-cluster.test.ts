import { afterAll, beforeAll, expect, it } from "vitest";
import { redisNames } from "../../src/redis/names.ts";
import { describeWithPostgres, describeWithRedis } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import { type RedisCluster, startRedisCluster } from "../../testkit/redis-cluster.ts";
import { expectWell, median, startTwoNodes, type TwoNodes, untilCharged } from "./two-nodes.ts";

const SLOTS = 300;

describeWithPostgres("two nodes", () => {
  describeWithRedis("with a Redis Cluster", () => {
    let redis: RedisCluster;
    let nodes: TwoNodes;

    beforeAll(async () => {
      // Else the other masters refuse meanwhile, and ioredis asks for the slots by itself.
      redis = await startRedisCluster({ settings: { "cluster-require-full-coverage": "no" } });
      nodes = await startTwoNodes({ REDIS_URL: redis.url });
      await eventually(async () => expect(await nodes.metric('claviger_redis_up{purpose="limiter"}')).toEqual([1, 1]));
    }, 120_000);
    afterAll(async () => {
      await nodes?.stop();
      await redis?.stop();
    }, 60_000);

    it("charge exactly, and revoke fast", async () => {
      console.log("steady:", await expectWell(nodes));
    }, 120_000);

    it("charge exactly while slots with their keys move to another master", async () => {
      const before = await nodes.uncharged();
      const secrets = await Promise.all(Array.from({ length: 20 }, () => nodes.makeLimited(60)));
      const asking = Promise.all(secrets.map((secret) => nodes.ask(secret)));
      const owner = await redis.ownerOf("a");
      const other = await redis.ownerOf("b");
      expect(other).not.toBe(owner);
      await redis.reshard(owner, other, SLOTS);
      await redis.reshard(other, owner, SLOTS);
      const valid = await asking;
      const uncharged = (await nodes.uncharged()) - before;
      console.log(`reshard: ${valid.reduce((sum, one) => sum + one, 0)} of 1200 VALID, ${uncharged} uncharged`);
      for (const one of valid) expect(one).toBeLessThanOrEqual(60 + uncharged);
      console.log("reshard:", await expectWell(nodes));
    }, 120_000);

    it("leave a master that hangs, and follow to its replica", async () => {
      const key = redisNames(await nodes.clusterId()).revocations;
      const hung = await redis.ownerOf(key);
      const began = performance.now();
      hung.kill("SIGSTOP");
      try {
        nodes.takeRevocations();
        console.log("hang:", await untilCharged(nodes, began));
        console.log("hang: revocations meanwhile, median", Math.round(median(nodes.takeRevocations().ms)));
        await redis.ownerLeaves(key, hung);
        console.log("hang:", await expectWell(nodes));
      } finally {
        hung.kill("SIGCONT");
      }
      console.log("hang is over:", await expectWell(nodes));
    }, 180_000);

    it("follow a master that is killed", async () => {
      const killed = await redis.ownerOf("b");
      const began = performance.now();
      killed.kill("SIGKILL");
      console.log("kill:", await untilCharged(nodes, began));
      console.log("kill:", await expectWell(nodes));
    }, 180_000);
  });
});
