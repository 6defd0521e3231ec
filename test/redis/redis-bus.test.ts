import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import type { Change } from "../../src/keys/change.ts";
import { redisNames } from "../../src/redis/names.ts";
import { RedisBus } from "../../src/redis/redis-bus.ts";
import { sealMessage } from "../../src/redis/sealed-message.ts";
import { InProcessBus } from "../../src/revocation/in-process-bus.ts";
import { describeWithRedis } from "../support/describe-with.ts";
import { eventually } from "../support/eventually.ts";
import { type RedisServer, startRedisServer } from "../support/redis-server.ts";

const KEY = Buffer.alloc(32, 1);
const change: Change = { revision: 1, keyIds: ["key_a"] };

describeWithRedis("the bus over Redis", () => {
  let server: RedisServer;
  const open: RedisBus[] = [];
  const warnings: string[] = [];

  beforeAll(async () => {
    server = await startRedisServer();
  });
  afterEach(async () => {
    await Promise.all(open.splice(0).map((bus) => bus.close()));
    warnings.length = 0;
  });
  afterAll(() => server?.stop());

  function bus(options: { clusterId?: string; key?: Buffer; database?: number } = {}): RedisBus {
    const made = new RedisBus({
      local: new InProcessBus(),
      address: { kind: "standalone", url: `${server.url}/${options.database ?? 0}` },
      clusterId: options.clusterId ?? "c",
      commandTimeoutMs: 50,
      keys: [options.key ?? KEY],
      onWarning: (problem) => warnings.push(problem),
    });
    open.push(made);
    return made;
  }

  function heardBy(listener: RedisBus): Change[] {
    const heard: Change[] = [];
    listener.onChange((one) => heard.push(one));
    return heard;
  }
  const until = (sender: RedisBus, heard: readonly unknown[]) =>
    eventually(async () => {
      await sender.push(change);
      expect(heard).toContainEqual(change);
    });

  it("brings changes and acknowledgements to other processes", async () => {
    const [one, two] = [bus(), bus()];
    await until(one, heardBy(two));
    const acks: unknown[] = [];
    one.onAck((ack) => acks.push(ack));
    await eventually(() => {
      two.acknowledge({ epoch: "e", revision: 7 });
      expect(acks).toContainEqual({ epoch: "e", revision: 7 });
    });
  });

  it("reaches the own process at once, without Redis", () => {
    const one = bus();
    const heard = heardBy(one);
    void one.push(change);
    expect(heard).toEqual([change]);
  });

  it("drops what was not made with the cluster's keys, or is no message", async () => {
    const [one, two, stranger] = [bus(), bus(), bus({ key: Buffer.alloc(32, 2) })];
    const heard = heardBy(two);
    await until(one, heard);
    const before = heard.length;
    const redis = new Redis(server.url);
    const { changes } = redisNames("c");
    await stranger.push({ revision: 666, keyIds: ["key_x"] });
    for (const text of [
      "",
      "garbage",
      sealMessage(KEY, { revision: "1" }),
      sealMessage(KEY, { revision: 2, keyIds: [3] }),
    ]) {
      await redis.publish(changes, text);
    }
    redis.disconnect();
    await until(one, heard);
    expect(heard.slice(before).every(({ revision }) => revision === 1)).toBe(true);
    expect(warnings.length).toBeGreaterThanOrEqual(5);
  });

  it("keeps clusters apart that share a Redis, in whatever database", async () => {
    const [one, two, other] = [bus(), bus({ database: 3 }), bus({ clusterId: "other" })];
    const foreign = heardBy(other);
    await until(one, heardBy(two));
    expect(foreign).toEqual([]);
  });

  it("takes no longer than its bound while Redis is stopped, and works again afterwards", async () => {
    const [one, two] = [bus(), bus()];
    const heard = heardBy(two);
    await until(one, heard);
    server.kill("SIGSTOP");
    const began = performance.now();
    await one.push(change);
    expect(performance.now() - began).toBeLessThan(1000);
    server.kill("SIGCONT");
    await server.restart();
    heard.length = 0;
    await until(one, heard);
  });
});
