import fc from "fast-check";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { charge, type Limits } from "../../src/keys/limits.ts";
import { RedisLimiter } from "../../src/redis/limiter.ts";
import { redisNames } from "../../src/redis/names.ts";
import { DAY_MS } from "../../src/system/clocks.ts";
import { describeWithRedis } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import { QUIET_REDIS } from "../../testkit/redis-health.ts";
import { type RedisServer, startRedisServer } from "../../testkit/redis-server.ts";

const none: Limits = { requestsPerSecond: 0, burst: 0, requestsPerDay: 0 };
const perDay = (requestsPerDay: number): Limits => ({ ...none, requestsPerDay });

describeWithRedis("limits in Redis", () => {
  let server: RedisServer;
  let redis: Redis;
  let limiter: RedisLimiter;
  let seeds: string[];
  let charged: number;

  beforeAll(async () => {
    server = await startRedisServer({ settings: { "repl-diskless-sync-delay": "0" } });
    redis = new Redis(server.url);
  });
  afterAll(async () => {
    redis?.disconnect();
    await server?.stop();
  });
  beforeEach(async () => {
    [seeds, charged] = [[], 0];
    limiter = new RedisLimiter({
      address: { kind: "standalone", url: server.url },
      ...{ clusterId: "c", ...QUIET_REDIS, timeoutMs: 2000 },
      async readCharged(keyId, dayStart) {
        seeds.push(`${keyId} ${dayStart.toISOString().slice(11)}`);
        return charged;
      },
    });
    await eventually(() => limiter.charge({ keyId: "up", limits: none, costs: [0] }));
  });
  afterEach(async () => {
    await limiter.close();
    await redis.flushall();
  });

  const outcomes = async (limits: Limits, costs: readonly number[]) =>
    (await limiter.charge({ keyId: "key_a", limits, costs })).map(({ outcome }) => outcome);

  it("charge a day, and say until when", async () => {
    const answer = await limiter.charge({ keyId: "key_a", limits: perDay(2), costs: [1, 1, 1] });
    expect(answer.map(({ outcome }) => outcome)).toEqual(["charged", "charged", "quota_exhausted"]);
    const untilMidnight = DAY_MS - (Date.now() % DAY_MS);
    expect(Math.abs((answer[2]?.retryAfterMs ?? 0) - untilMidnight)).toBeLessThan(5000);
  });

  it("decide as `charge` does, for whatever limits and costs", async () => {
    const numbers = fc.record({
      // Slow enough for nothing to come back between two calls.
      requestsPerSecond: fc.constantFrom(0, 1),
      burst: fc.integer({ min: 0, max: 12 }),
      requestsPerDay: fc.integer({ min: 0, max: 40 }),
    });
    const calls = fc.array(fc.array(fc.integer({ min: 0, max: 6 }), { minLength: 1, maxLength: 8 }), { maxLength: 6 });
    let keys = 0;
    await fc.assert(
      fc.asyncProperty(numbers, calls, async (limits, orders) => {
        const keyId = `key_${++keys}`;
        let spent = { emptyMs: 0, day: 1, used: 0 };
        for (const costs of orders) {
          const expected = charge(spent, limits, costs, 1_000_000);
          spent = { ...expected.spent, day: 1 };
          const actual = await limiter.charge({ keyId, limits, costs });
          expect(actual.map(({ outcome }) => outcome)).toEqual(expected.charged.map(({ outcome }) => outcome));
          for (const [at, { retryAfterMs }] of actual.entries()) {
            expect(retryAfterMs === undefined).toBe(expected.charged[at]?.retryAfterMs === undefined);
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  it("give a burst back at the rate", async () => {
    const limits = { ...none, requestsPerSecond: 1000, burst: 5 };
    const answer = await limiter.charge({ keyId: "key_a", limits, costs: [5, 1] });
    expect(answer).toEqual([{ outcome: "charged" }, { outcome: "rate_limited", retryAfterMs: 1 }]);
    await eventually(async () => expect(await outcomes(limits, [1])).toEqual(["charged"]));
  });

  it("begin a day that they know nothing of with what the ledger says, and ask it once", async () => {
    charged = 3;
    expect(await outcomes(perDay(5), [1, 1, 1])).toEqual(["charged", "charged", "quota_exhausted"]);
    expect(await outcomes(perDay(6), [1])).toEqual(["charged"]);
    expect(seeds).toEqual(["key_a 00:00:00.000Z"]);
    await redis.flushall();
    charged = 6;
    expect(await outcomes(perDay(6), [1])).toEqual(["quota_exhausted"]);
  });

  describe("on a replica that was promoted without the last charges", () => {
    let replica: RedisServer;
    let promoted: RedisLimiter;
    let ledger: () => Promise<number>;

    beforeEach(async () => {
      replica = await startRedisServer({ settings: { replicaof: `127.0.0.1 ${server.port}` } });
      const atReplica = new Redis(replica.url);
      expect(await outcomes(perDay(9), [1, 1, 1])).toEqual(["charged", "charged", "charged"]);
      const name = redisNames("c").limits("key_a");
      await eventually(async () => expect(await atReplica.hget(name, "used")).toBe("3"));
      await atReplica.replicaof("NO", "ONE");
      atReplica.disconnect();
      expect(await outcomes(perDay(9), [1, 1, 1])).toEqual(["charged", "charged", "charged"]);
      promoted = new RedisLimiter({
        address: { kind: "standalone", url: replica.url },
        ...{ clusterId: "c", ...QUIET_REDIS, timeoutMs: 2000, readCharged: () => ledger() },
      });
      ledger = async () => 0;
      await eventually(() => promoted.charge({ keyId: "up", limits: none, costs: [0] }));
    });
    afterEach(async () => {
      await promoted?.close();
      await replica?.stop();
    });
    const left = async () =>
      (await promoted.charge({ keyId: "key_a", limits: perDay(9), costs: Array(9).fill(1) })).filter(
        ({ outcome }) => outcome === "charged",
      ).length;

    it("go on from what the ledger has counted, and ask it once", async () => {
      let asked = 0;
      ledger = async () => {
        asked += 1;
        return 6;
      };
      expect([await left(), await left()]).toEqual([3, 0]);
      expect(asked).toBe(1);
    });

    it("control: without the ledger the lost charges can be had again", async () => {
      expect(await left()).toBe(6);
    });

    it("go on from what is there while the ledger cannot be asked, and ask it later", async () => {
      ledger = async () => {
        throw new Error("Postgres is away");
      };
      expect((await promoted.charge({ keyId: "key_a", limits: perDay(9), costs: [1] }))[0]?.outcome).toBe("charged");
      ledger = async () => 7;
      expect(await left()).toBe(2);
    });
  });

  it("charge and seed where the user may not ask for the history", async () => {
    const commands = ["+eval", "+ping", "+time", "+del", "+hset", "+hmget", "+expire"];
    await redis.call("ACL", "SETUSER", "limited", "on", ">p", "~claviger:*", ...commands);
    await limiter.close();
    limiter = new RedisLimiter({
      address: { kind: "standalone", url: server.url.replace("://", "://limited:p@") },
      ...{ clusterId: "c", ...QUIET_REDIS, timeoutMs: 2000, readCharged: async () => 3 },
    });
    await eventually(() => limiter.charge({ keyId: "up", limits: none, costs: [0] }));
    expect(await outcomes(perDay(5), [1, 1, 1])).toEqual(["charged", "charged", "quota_exhausted"]);
  });

  it("begin the day after with nothing, and need no ledger for that", async () => {
    expect(await outcomes(perDay(2), [1, 1, 1])).toEqual(["charged", "charged", "quota_exhausted"]);
    const name = redisNames("c").limits("key_a");
    await redis.hset(name, "day", Math.floor(Date.now() / DAY_MS) - 1);
    charged = 2;
    expect(await outcomes(perDay(2), [1, 1, 1])).toEqual(["charged", "charged", "quota_exhausted"]);
    expect(seeds).toHaveLength(1);
  });

  it("take a limit that was lowered, raised, taken away and set again, as it is then", async () => {
    expect(await outcomes(perDay(5), [1, 1, 1])).toEqual(["charged", "charged", "charged"]);
    expect(await outcomes(perDay(2), [1])).toEqual(["quota_exhausted"]);
    expect(await outcomes(perDay(4), [1, 1])).toEqual(["charged", "quota_exhausted"]);
    expect(await outcomes(none, [1])).toEqual(["charged"]);
    charged = 5;
    expect(await outcomes(perDay(6), [1, 1])).toEqual(["charged", "quota_exhausted"]);
  });

  it("go on counting a day whose limit is taken away and set again, while a rate stays", async () => {
    expect(await outcomes(perDay(3), [1, 1])).toEqual(["charged", "charged"]);
    expect(await outcomes({ ...none, requestsPerSecond: 1000 }, [1])).toEqual(["charged"]);
    expect(await outcomes(perDay(4), [1, 1])).toEqual(["charged", "quota_exhausted"]);
    expect(seeds).toHaveLength(1);
  });

  it("forget nothing of a burst that takes longer than two days to come back", async () => {
    const limits = { ...none, requestsPerSecond: 1, burst: 1_000_000 };
    expect(await outcomes(limits, [1_000_000, 1])).toEqual(["charged", "rate_limited"]);
    expect(await redis.ttl(redisNames("c").limits("key_a"))).toBeGreaterThan(990_000);
  });

  it("fail within their time when the ledger does not answer", async () => {
    await limiter.close();
    limiter = new RedisLimiter({
      address: { kind: "standalone", url: server.url },
      ...{
        clusterId: "c",
        ...QUIET_REDIS,

        timeoutMs: 20,
        readCharged: () => new Promise(() => undefined),
      },
    });
    await eventually(() => limiter.charge({ keyId: "up", limits: none, costs: [0] }));
    await expect(outcomes(perDay(5), [1])).rejects.toThrow("does not answer");
  });

  it("fail within their time when Redis hangs, and charge again once it answers", async () => {
    await limiter.close();
    limiter = new RedisLimiter({
      address: { kind: "standalone", url: server.url },
      ...{ clusterId: "c", ...QUIET_REDIS, timeoutMs: 100, readCharged: async () => 0 },
    });
    await eventually(() => outcomes(perDay(9), [1]));
    server.kill("SIGSTOP");
    const began = performance.now();
    await expect(outcomes(perDay(9), [1])).rejects.toThrow("does not answer");
    expect(performance.now() - began).toBeLessThan(2000);
    server.kill("SIGCONT");
    await eventually(async () => expect(await outcomes(perDay(9), [1])).toEqual(["charged"]));
  });

  it("leave no secret and no name of an owner in Redis, and nothing for longer than two days", async () => {
    await outcomes(perDay(5), [1]);
    for (const name of await redis.keys("*")) {
      expect(name).toMatch(/^claviger:\{c:(key_a|up)\}:limits$/);
      expect(await redis.ttl(name)).toBeLessThanOrEqual(172_800);
    }
  });
});
