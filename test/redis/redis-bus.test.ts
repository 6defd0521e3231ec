import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import type { Change } from "../../src/keys/change.ts";
import { redisNames } from "../../src/redis/names.ts";
import { RedisBus, sealMessage } from "../../src/redis/redis-bus.ts";
import { type ChangeBus, InProcessBus } from "../../src/revocation/change-bus.ts";
import { describeWithRedis } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import { QUIET_REDIS } from "../../testkit/redis-health.ts";
import { type RedisServer, startRedisServer } from "../../testkit/redis-server.ts";

const KEY = Buffer.alloc(32, 1);
const identity = "db";
const change: Change = { revision: 1, identity, keyIds: ["key_a"] };

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

  function bus(
    options: { clusterId?: string; key?: Buffer; database?: number; local?: Omit<ChangeBus, "close"> } = {},
  ): RedisBus {
    const made = new RedisBus({
      ...QUIET_REDIS,
      local: options.local ?? new InProcessBus(),
      address: { kind: "standalone", url: `${server.url}/${options.database ?? 0}` },
      clusterId: options.clusterId ?? "c",
      commandTimeoutMs: 50,
      keys: [options.key ?? KEY],
      onWarning: (problem) => warnings.push(problem),
    });
    open.push(made);
    return made;
  }

  const connected = (...buses: RedisBus[]) =>
    eventually(() => expect(buses.map((one) => one.isConnected())).not.toContain(false));

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
      two.acknowledge({ epoch: "e", revision: 7, identity });
      expect(acks).toContainEqual({ epoch: "e", revision: 7, identity });
    });
    await eventually(() => {
      two.acknowledge({ epoch: "e", revision: 8, identity, waitedOutAgents: 3 });
      expect(acks).toContainEqual({ epoch: "e", revision: 8, identity, waitedOutAgents: 3 });
    });
  });

  it("does not bring a process its own messages a second time", async () => {
    const [one, two] = [bus(), bus()];
    await connected(one, two);
    const heard = heardBy(one);
    await one.push(change);
    // Redis passes messages on in the order in which it received them.
    await two.push({ ...change, revision: 2 });
    await eventually(() => expect(heard.map(({ revision }) => revision)).toContain(2));
    expect(heard.map(({ revision }) => revision)).toEqual([1, 2]);
  });

  it("reaches the own process at once, without Redis", () => {
    const one = bus();
    const heard = heardBy(one);
    void one.push(change);
    expect(heard).toEqual([change]);
  });

  it("drops what was not made with the cluster's keys, what is another cluster's, and what is no message", async () => {
    const two = bus();
    const heard = heardBy(two);
    await connected(two);
    const wrong = { cluster: "c", revision: 666, identity, keyIds: ["key_x"] };
    const texts = [
      ...["", "garbage", JSON.stringify(wrong), sealMessage(Buffer.alloc(32, 2), wrong), sealMessage(KEY, null)],
      ...[
        { ...wrong, cluster: "other" },
        { revision: 666, identity, keyIds: ["key_x"] },
      ].map((one) => sealMessage(KEY, one)),
      ...["1", -1, 1.5, Number.NaN].map((revision) => sealMessage(KEY, { ...wrong, revision })),
      ...[[3], "some", Array(1001).fill("k"), undefined].map((keyIds) => sealMessage(KEY, { ...wrong, keyIds })),
      sealMessage(KEY, { cluster: "c", epoch: "e", revision: 666, identity }),
    ];
    const redis = new Redis(server.url);
    for (const text of texts) await redis.publish(redisNames("c").changes, text);
    // The control: the same message with the right key and cluster.
    await redis.publish(redisNames("c").changes, sealMessage(KEY, wrong));
    redis.disconnect();
    await eventually(() => expect(heard).toEqual([{ revision: 666, identity, keyIds: ["key_x"] }]));
    expect(warnings).toHaveLength(texts.length);
    expect(warnings.join()).not.toContain("key_x");
  });

  it("opens messages of older keys, and seals with the newest", async () => {
    const old = bus({ key: Buffer.alloc(32, 9) });
    const both = new RedisBus({
      ...{ local: new InProcessBus(), address: { kind: "standalone", url: server.url }, clusterId: "c" },
      ...{ commandTimeoutMs: 50, keys: [KEY, Buffer.alloc(32, 9)], onWarning: () => undefined, ...QUIET_REDIS },
    });
    open.push(both);
    const fresh = bus();
    const [atBoth, atFresh, atOld] = [heardBy(both), heardBy(fresh), heardBy(old)];
    await connected(old, both, fresh);
    await old.push(change);
    await eventually(() => expect(atBoth).toEqual([change]));
    await both.push({ revision: 2, identity, keyIds: "all" });
    await eventually(() => expect(atFresh).toEqual([{ revision: 2, identity, keyIds: "all" }]));
    expect(atOld).not.toContainEqual({ revision: 2, identity, keyIds: "all" });
  });

  it("survives listeners that fail, and says so", async () => {
    const local = new InProcessBus();
    const [one, two] = [bus(), bus({ local })];
    const fail = () => {
      throw new Error("boom");
    };
    local.onChange(fail);
    local.onAck(fail);
    await connected(one, two);
    await two.push(change);
    two.acknowledge({ epoch: "e", revision: 1, identity });
    await one.push(change);
    one.acknowledge({ epoch: "e", revision: 1, identity });
    // Its own and the other's, of each kind.
    await eventually(() => expect(warnings.filter((problem) => problem.includes("boom"))).toHaveLength(4));
  });

  it("no longer calls a listener that was taken back", async () => {
    const one = bus();
    const heard: Change[] = [];
    one.onChange((each) => heard.push(each))();
    await one.push(change);
    expect(heard).toEqual([]);
  });

  it("keeps clusters apart that share a Redis, in whatever database", async () => {
    const [one, two, other] = [bus(), bus({ database: 3 }), bus({ clusterId: "other" })];
    const [heard, foreign] = [heardBy(two), heardBy(other)];
    await connected(one, two, other);
    await one.push(change);
    await eventually(() => expect(heard).toEqual([change]));
    // Pub/sub keeps order: had the change been sent there, it would have come before this one.
    const last = bus({ clusterId: "other", database: 3 });
    await connected(last);
    await last.push({ revision: 2, identity, keyIds: "all" });
    await eventually(() => expect(foreign).toEqual([{ revision: 2, identity, keyIds: "all" }]));
    expect(heard).toEqual([change]);
  });

  it("takes no longer than its bound while Redis is stopped, reaches the own process, and works again", async () => {
    const [one, two] = [bus(), bus()];
    const [own, heard] = [heardBy(one), heardBy(two)];
    await connected(one, two);
    server.kill("SIGSTOP");
    try {
      const began = performance.now();
      const pushed = one.push(change);
      one.acknowledge({ epoch: "e", revision: 1, identity });
      expect(own).toEqual([change]);
      await pushed;
      // 50 for the command, and room for a busy machine.
      expect(performance.now() - began).toBeLessThan(150);
    } finally {
      server.kill("SIGCONT");
    }
    await until(one, heard);
  });

  it("never rejects while Redis is dead, and finds it again", async () => {
    const [one, two] = [bus(), bus()];
    const [own, heard] = [heardBy(one), heardBy(two)];
    await connected(one, two);
    process.kill(server.pid(), "SIGKILL");
    await eventually(() => expect(one.isConnected()).toBe(false));
    const began = performance.now();
    await one.push(change);
    one.acknowledge({ epoch: "e", revision: 1, identity });
    expect(performance.now() - began).toBeLessThan(150);
    expect(own).toEqual([change]);
    await server.restart();
    await connected(one, two);
    heard.length = 0;
    await one.push({ revision: 2, identity, keyIds: [] });
    await eventually(() => expect(heard).toEqual([{ revision: 2, identity, keyIds: [] }]));
  });

  it("loses its connection at close, and finds no other", async () => {
    const one = bus();
    await connected(one);
    await one.close();
    await eventually(() => expect(one.isConnected()).toBe(false));
    await one.push(change);
  });
});
