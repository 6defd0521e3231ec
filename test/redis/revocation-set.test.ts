import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { RedisRevocationSet, type RedisRevocationSetOptions } from "../../src/redis/revocation-set.ts";
import { describeWithRedis } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import { QUIET_REDIS } from "../../testkit/redis-health.ts";
import { type RedisServer, startRedisServer } from "../../testkit/redis-server.ts";

describeWithRedis("the revocation set in Redis", () => {
  let server: RedisServer;
  let set: RedisRevocationSet;

  beforeAll(async () => {
    server = await startRedisServer();
  });
  const options = (): RedisRevocationSetOptions => ({
    address: { kind: "standalone", url: server.url },
    clusterId: "c",
    ...QUIET_REDIS,
    commandTimeoutMs: 1000,
  });
  beforeEach(async () => {
    set = new RedisRevocationSet(options());
    await eventually(() => expect(set.state()).toBeDefined());
    await set.initialise("m", 3);
  });
  afterEach(async () => {
    const redis = new Redis(server.url);
    await redis.flushall();
    redis.disconnect();
    await set.close();
  });
  afterAll(() => server?.stop());

  it("holds the newest revision of each key, under its marker", async () => {
    expect(await set.write("m", ["a", "b"], 5)).toBe(true);
    expect(await set.write("m", ["a"], 4)).toBe(true);
    expect(await set.look("a")).toEqual({ marker: "m", floor: 3, member: 5 });
    expect(await set.look("c")).toEqual({ marker: "m", floor: 3, member: 0 });
    expect(await set.holds("m", ["a", "b"], 5)).toBe(true);
    expect(await set.holds("m", ["a", "b"], 6)).toBe(false);
    expect(await set.holds("m", ["never"], 3)).toBe(true);
  });

  it("takes nothing under another marker, and holds nothing under it", async () => {
    expect(await set.write("other", ["a"], 5)).toBe(false);
    expect(await set.look("a")).toMatchObject({ member: 0 });
    expect(await set.holds("other", ["a"], 1)).toBe(false);
  });

  it("compares the marker of a call without keys as well", async () => {
    expect([await set.write("other", [], 5), await set.holds("other", [], 1)]).toEqual([false, false]);
    expect([await set.write("m", [], 5), await set.holds("m", [], 1)]).toEqual([true, true]);
  });

  it("rejects what is not answered in time, and what it cannot send", async () => {
    const hasty = new RedisRevocationSet({ ...options(), commandTimeoutMs: 50 });
    await eventually(() => expect(hasty.state()).toBeDefined());
    server.kill("SIGSTOP");
    try {
      const outcomes = await Promise.allSettled([
        ...[hasty.readMarker(), hasty.look("a"), hasty.initialise("n", 9), hasty.trim("m", 9)],
        ...[hasty.write("m", ["a"], 5), hasty.holds("m", ["a"], 5)],
      ]);
      expect(outcomes.map(({ status }) => status)).toEqual(Array(6).fill("rejected"));
    } finally {
      server.kill("SIGCONT");
    }
    await hasty.close();
    await expect(hasty.look("a")).rejects.toThrow();
  });

  it("looks in all of thousands of keys", async () => {
    const many = Array.from({ length: 2500 }, (_, index) => `key_${index}`);
    expect(await set.write("m", many, 5)).toBe(true);
    expect(await set.holds("m", many, 5)).toBe(true);
    expect(await set.holds("m", [...many, "key_2500"], 5)).toBe(false);
  });

  it("begins anew under another marker, and is left alone under the same", async () => {
    await set.write("m", ["a"], 5);
    await set.initialise("m", 9);
    expect(await set.look("a")).toEqual({ marker: "m", floor: 3, member: 5 });
    await set.initialise("n", 9);
    expect(await set.look("a")).toEqual({ marker: "n", floor: 9, member: 0 });
  });

  it("has no marker and takes nothing once it was flushed", async () => {
    const redis = new Redis(server.url);
    await redis.flushall();
    redis.disconnect();
    expect(await set.readMarker()).toBeUndefined();
    expect(await set.write("m", ["a"], 5)).toBe(false);
    const { marker, floor } = await set.look("a");
    expect([marker, floor]).toEqual([undefined, Number.NaN]);
  });

  it("raises its floor before it forgets what is below", async () => {
    const many = Array.from({ length: 2500 }, (_, index) => `key_${index}`);
    await set.write("m", many, 5);
    await set.write("m", ["later"], 8);
    await set.trim("m", 6);
    expect(await set.look("key_7")).toEqual({ marker: "m", floor: 6, member: 0 });
    expect(await set.look("later")).toMatchObject({ member: 8 });
    expect(await set.holds("m", many, 5)).toBe(true);
    await set.trim("other", 100);
    expect(await set.look("a")).toMatchObject({ floor: 6 });
  });

  it("is another one after a restart of the server, and nothing of it is known meanwhile", async () => {
    const before = set.state();
    const restarted = server.restart();
    await eventually(() => expect(set.state()).toBeUndefined());
    await restarted;
    await eventually(() => expect(set.state()).toBeDefined());
    expect(set.state()?.runId).not.toBe(before?.runId);
    expect(set.state()?.connection).toBeGreaterThan(before?.connection ?? Number.POSITIVE_INFINITY);
  });
});
