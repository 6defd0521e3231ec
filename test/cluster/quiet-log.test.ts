import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, it } from "vitest";
import { redisNames } from "../../src/redis/names.ts";
import { TEST_ROOT_SECRET } from "../support/claviger.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { describeWithPostgres, describeWithRedis } from "../support/describe-with.ts";
import { eventually } from "../support/eventually.ts";
import { type RedisServer, startRedisServer } from "../support/redis-server.ts";
import { type ServerProcess, startServer } from "../support/server-process.ts";
import { createTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";

/** Warnings and errors of one message that are written per minute. */
const MOST = 5;
const BUS = "the change bus has a problem";

describeWithPostgres("the log of a server", () => {
  describeWithRedis("that garbage reaches, or whose Postgres goes away,", () => {
    let database: TestDatabase;
    let redis: RedisServer;
    let link: TcpProxy;
    let server: ServerProcess;

    beforeAll(async () => {
      database = await createTestDatabase();
      redis = await startRedisServer();
      const url = new URL(database.url);
      link = await createTcpProxy({ host: url.hostname, port: Number(url.port || 5432) });
      url.host = `127.0.0.1:${link.port}`;
      const env = { DATABASE_URL: url.href, CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET, REDIS_URL: redis.url };
      const policy = JSON.stringify({ sealEveryMs: 50, foldUsageMs: 50 });
      server = await startServer({ env: { ...env, CLAVIGER_LEASE_MS: "400", CLAVIGER_POLICY: policy } });
    });
    afterAll(async () => {
      await server?.stop();
      await link?.close();
      await redis?.stop();
      await database?.drop();
    });

    const messages = () =>
      server
        .stderr()
        .split("\n")
        .filter((line) => line.startsWith("{"))
        .map((line) => JSON.parse(line).msg);
    const count = (message: string) => messages().filter((each) => each === message).length;

    it("has a few lines of 5,000 messages of garbage on the bus", async () => {
      const client = new Redis(redis.url);
      const [channel] = (await client.pubsub("CHANNELS", "claviger:*:changes")) as string[];
      expect(channel).toBe(redisNames(/\{(.*)\}/.exec(channel ?? "")?.[1] ?? "").changes);
      const heard = await Promise.all(Array.from({ length: 5000 }, () => client.publish(channel ?? "", "garbage")));
      client.disconnect();
      expect(heard.reduce((sum, each) => sum + each, 0)).toBe(5000);
      await eventually(() => expect(count(BUS)).toBe(MOST));
    });

    it("has a few lines of each failure of an outage, and one of each that is well again", async () => {
      await link.refuse();
      link.reset();
      const failing = [
        "the lease could not be renewed; the server tries again",
        "folding counts failed; the server tries again",
      ];
      await eventually(() => expect(failing.map(count)).toEqual([MOST, MOST]), { withinMs: 20_000 });
      await link.resume();
      const well = ["the lease is renewed again", "folding counts works again", "sealing audit events works again"];
      await eventually(() => expect(well.map(count)).toEqual([1, 1, 1]), { withinMs: 20_000 });
      for (const message of new Set(messages())) expect([message, count(message) > MOST + 1]).toEqual([message, false]);
      expect(count(BUS)).toBe(MOST);
    });
  });
});
