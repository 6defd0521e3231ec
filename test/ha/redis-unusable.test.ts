import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { bootstrapAdmin } from "../../src/server/bootstrap.ts";
import { loadConfig } from "../../src/server/config/config.ts";
import { makeCertificates, type TestCertificates } from "../../testkit/certificates.ts";
import { TEST_ROOT_SECRET } from "../../testkit/claviger.ts";
import { createTestDatabase, type TestDatabase } from "../../testkit/database.ts";
import { describeWithOpenssl, describeWithPostgres, describeWithRedis } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import { freePort } from "../../testkit/free-port.ts";
import { startRedisCluster } from "../../testkit/redis-cluster.ts";
import { startRedisSentinel } from "../../testkit/redis-sentinel.ts";
import { startRedisServer } from "../../testkit/redis-server.ts";
import { type ServerProcess, startServer } from "../../testkit/server-process.ts";

const PURPOSES = ["bus", "limiter", "revocation_set"];
const PATIENCE = { withinMs: 40_000 };
const PASSWORD = "hunter2";

describeWithPostgres("a server", () => {
  describeWithRedis("whose Redis cannot be used", () => {
    describeWithOpenssl("for whatever reason", () => {
      const closing: (() => unknown)[] = [];
      let certificates: TestCertificates;
      let database: TestDatabase;

      beforeAll(async () => {
        certificates = await makeCertificates();
        database = await createTestDatabase();
        const settings = { DATABASE_URL: database.url, CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET };
        await bootstrapAdmin(await loadConfig({ ...settings, CLAVIGER_LOG_LEVEL: "silent" }));
      });
      afterEach(async () => {
        for (const close of closing.splice(0).reverse()) await close();
      });
      afterAll(async () => {
        await database?.drop();
        certificates?.remove();
      });

      async function start(env: Record<string, string>): Promise<ServerProcess> {
        const settings = {
          ...{ DATABASE_URL: database.url, CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET, ...env },
          // A busy machine must not look like a Redis that does not answer.
          CLAVIGER_POLICY: JSON.stringify({ redis: { timeoutMs: 1500 }, usage: { limiterTimeoutMs: 1000 } }),
        };
        const server = await startServer({ env: settings });
        closing.push(() => server.stop());
        return server;
      }
      /** Each line is one of the server's own, and none has a password. */
      function linesOf(server: ServerProcess): Record<string, unknown>[] {
        const text = server.stderr().trim();
        expect(text).not.toContain(PASSWORD);
        const lines = text === "" ? [] : text.split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);
        return lines.filter(({ event }) => event === "redis");
      }
      async function upOf(server: ServerProcess): Promise<string[]> {
        const text = await (await fetch(`${server.url}/metrics`)).text();
        return text.split("\n").filter((line) => /^claviger_redis_up\{.*1$/.test(line));
      }
      /** One warning for each purpose, however long it lasts. */
      async function expectWarned(server: ServerProcess, reason: RegExp): Promise<void> {
        await eventually(
          () =>
            expect(
              linesOf(server)
                .map(({ purpose }) => purpose)
                .sort(),
            ).toEqual(PURPOSES),
          PATIENCE,
        );
        for (const line of linesOf(server))
          expect(line).toMatchObject({ level: "warn", reason: expect.stringMatching(reason) });
        expect(await upOf(server)).toEqual([]);
      }
      /** One line for each when it can be used again. */
      async function expectWell(server: ServerProcess): Promise<void> {
        await eventually(async () => expect(await upOf(server)).toHaveLength(PURPOSES.length), PATIENCE);
        const said = linesOf(server).slice(PURPOSES.length);
        expect(said.map(({ purpose }) => purpose).sort()).toEqual(PURPOSES);
        for (const line of said) expect(line).toMatchObject({ level: "info", forMs: expect.any(Number) });
      }

      it("says so once for a wrong password, and once when it is right", async () => {
        const redis = await startRedisServer({ settings: { requirepass: "another" } });
        closing.push(() => redis.stop());
        const server = await start({ REDIS_URL: `redis://:${PASSWORD}@127.0.0.1:${redis.port}` });
        await expectWarned(server, /^(WRONGPASS|NOAUTH) .*\. Correct the user and the password in REDIS_URL, or/);
        const operator = new Redis(redis.url, { password: "another" });
        await operator.config("SET", "requirepass", PASSWORD);
        operator.disconnect();
        await expectWell(server);
      }, 90_000);

      it("says so for a certificate of a CA that it does not know", async () => {
        const redis = await startRedisServer({ tls: certificates });
        closing.push(() => redis.stop());
        const server = await start({ REDIS_URL: redis.url });
        await expectWarned(server, /certificate.*\. Name the CA of Redis in REDIS_TLS_CA/);
      }, 90_000);

      it("says so where Redis wants a client certificate", async () => {
        const redis = await startRedisServer({ tls: certificates, settings: { "tls-auth-clients": "yes" } });
        closing.push(() => redis.stop());
        const server = await start({ REDIS_URL: redis.url, REDIS_TLS_CA: certificates.caFile });
        await expectWarned(server, /REDIS_TLS_CERT/);
      }, 90_000);

      it("says so for the purposes for which its user lacks a command, and prints nothing else", async () => {
        const redis = await startRedisServer();
        closing.push(() => redis.stop());
        const operator = new Redis(redis.url);
        const commands = ["+eval", "+publish", "+subscribe", "+ping", "+time", "+del", "+hset", "+hmget", "+expire"];
        await operator.call("ACL", "SETUSER", "keys", "on", `>${PASSWORD}`, "~claviger:*", "&claviger:*", ...commands);
        operator.disconnect();
        const server = await start({ REDIS_URL: `redis://keys:${PASSWORD}@127.0.0.1:${redis.port}` });
        await eventually(() => expect(linesOf(server)).toHaveLength(1), PATIENCE);
        const reason = expect.stringMatching(/^NOPERM .*info.*docs\/operate\/redis.md/);
        expect(linesOf(server)[0]).toMatchObject({ purpose: "revocation_set", reason });
        await eventually(async () => expect(await upOf(server)).toHaveLength(2), PATIENCE);
      }, 90_000);

      it("says so where no Redis listens, and once when one does", async () => {
        const redis = await startRedisServer();
        closing.push(() => redis.stop());
        redis.kill("SIGKILL");
        const server = await start({ REDIS_URL: redis.url });
        await expectWarned(server, /ECONNREFUSED.*\. Start Redis, or correct its address in REDIS_URL$/);
        await redis.restart();
        await expectWell(server);
      }, 90_000);

      it("says so for sentinels that do not answer", async () => {
        const server = await start({ REDIS_URL: `redis+sentinel://127.0.0.1:${await freePort()}/main` });
        await expectWarned(server, /^sentinel 127.0.0.1:\d+: connect ECONNREFUSED/);
      }, 90_000);

      it("says so for sentinels with another password", async () => {
        const redis = await startRedisSentinel({ sentinelSettings: { requirepass: "another" } });
        closing.push(() => redis.stop());
        const server = await start({ REDIS_URL: redis.url, REDIS_SENTINEL_PASSWORD: PASSWORD });
        await expectWarned(server, /sentinel.*WRONGPASS.*REDIS_SENTINEL_PASSWORD/);
      }, 90_000);

      it("says so for a cluster that is not formed", async () => {
        const redis = await startRedisCluster({ isFormed: false });
        closing.push(() => redis.stop());
        const server = await start({ REDIS_URL: redis.url });
        await expectWarned(server, /CLUSTER INFO/);
      }, 90_000);

      it("leaves a Redis that was made a replica by hand", async () => {
        const [redis, other] = [await startRedisServer(), await startRedisServer()];
        closing.push(
          () => redis.stop(),
          () => other.stop(),
        );
        const server = await start({ REDIS_URL: redis.url });
        await eventually(async () => expect(await upOf(server)).toHaveLength(PURPOSES.length), PATIENCE);
        const operator = new Redis(redis.url);
        const connections = async () =>
          Number(/total_connections_received:(\d+)/.exec(await operator.info("stats"))?.[1]);
        closing.push(() => operator.disconnect());
        const before = await connections();
        await operator.replicaof("127.0.0.1", other.port);
        await eventually(async () => expect(await connections()).toBeGreaterThan(before + 3), PATIENCE);
        await expectWarned(server, /^READONLY .*\. Redis is a replica now/);
        await operator.replicaof("NO", "ONE");
        await expectWell(server);
      }, 90_000);

      it("leaves sentinels that hang, and asks the others", async () => {
        const redis = await startRedisSentinel();
        closing.push(() => redis.stop());
        // The first of the address is asked first.
        redis.sentinels[0]?.kill("SIGSTOP");
        const server = await start({ REDIS_URL: redis.url });
        await eventually(async () => expect(await upOf(server)).toHaveLength(PURPOSES.length), PATIENCE);
      }, 90_000);
    });
  });
});
