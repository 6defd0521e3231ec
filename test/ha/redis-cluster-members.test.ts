import { randomBytes } from "node:crypto";
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Change } from "../../src/keys/change.ts";
import { RedisBus } from "../../src/redis/redis-bus.ts";
import { InProcessBus } from "../../src/revocation/change-bus.ts";
import { describeWithRedis } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import { type RedisCluster, startRedisCluster } from "../../testkit/redis-cluster.ts";
import { QUIET_REDIS } from "../../testkit/redis-health.ts";
import type { RedisServer } from "../../testkit/redis-server.ts";

describeWithRedis("a subscription to a node of a Redis Cluster", () => {
  let redis: RedisCluster;
  const closing: (() => unknown)[] = [];

  beforeAll(async () => {
    redis = await startRedisCluster();
  }, 60_000);
  afterAll(async () => {
    for (const close of closing.reverse()) await close();
    await redis?.stop();
  });

  function openBus(nodes: readonly RedisServer[]): RedisBus {
    const [first, ...others] = nodes.map(({ url }) => url);
    const bus = new RedisBus({
      ...{ ...QUIET_REDIS, local: new InProcessBus(), clusterId: "c", commandTimeoutMs: 1000 },
      // The first node is the first one that is subscribed to. Each process has an id of its own.
      random: (size) => (size === 1 ? new Uint8Array(1) : randomBytes(size)),
      address: { kind: "cluster", urls: [first ?? "", ...others] },
      ...{ keys: [Buffer.alloc(32, 1)], onWarning: () => undefined },
    });
    closing.push(() => bus.close());
    return bus;
  }
  const on = async (node: RedisServer, ...command: [string, ...string[]]) => {
    const connection = new Redis(node.url);
    try {
      return String(await connection.call(...command));
    } finally {
      connection.disconnect();
    }
  };

  it("moves on when the node has left the cluster, though it still answers", async () => {
    const [leaving, ...others] = [...redis.nodes].reverse() as [RedisServer, ...RedisServer[]];
    const [listener, sender] = [openBus([leaving, ...others]), openBus(others)];
    await eventually(() => expect([listener.isConnected(), sender.isConnected()]).toEqual([true, true]));
    expect(await on(leaving, "PUBSUB", "NUMSUB", "claviger:{c}:changes")).toBe("claviger:{c}:changes,1");
    const heard: Change[] = [];
    listener.onChange((change) => heard.push(change));

    const id = await on(leaving, "CLUSTER", "MYID");
    await on(leaving, "CLUSTER", "RESET");
    for (const node of others) await on(node, "CLUSTER", "FORGET", id);
    await eventually(
      async () => {
        await sender.push({ revision: 1, identity: "db", keyIds: ["key_a"] });
        expect(heard).not.toEqual([]);
      },
      { withinMs: 40_000 },
    );
  }, 90_000);
});
