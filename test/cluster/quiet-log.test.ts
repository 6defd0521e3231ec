import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, it } from "vitest";
import { redisNames } from "../../src/redis/names.ts";
import { bootstrapAdmin } from "../../src/server/bootstrap.ts";
import { loadConfig } from "../../src/server/config/config.ts";
import { TEST_ROOT_SECRET } from "../../testkit/claviger.ts";
import { connect } from "../../testkit/connect.ts";
import { createTestDatabase, type TestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres, describeWithRedis } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import { createFakeIssuer } from "../../testkit/fakes/fake-issuer.ts";
import { freePort } from "../../testkit/free-port.ts";
import { type RedisServer, startRedisServer } from "../../testkit/redis-server.ts";
import { type ServerProcess, startServer } from "../../testkit/server-process.ts";
import { createTcpProxy, type TcpProxy } from "../../testkit/tcp-proxy.ts";
import { makeKey } from "../rpc/make-key.ts";

/** Warnings and errors of one message that are written per minute. */
const MOST = 5;
const BUS = "the change bus has a problem";
const AWAY = "the database could not be asked; calls end as UNAVAILABLE until it answers";

interface Line {
  readonly level: string;
  readonly msg: string;
  readonly failures?: number;
  readonly forMs?: number;
}

describeWithPostgres("the log of a server", () => {
  describeWithRedis("that garbage reaches, or whose Postgres and issuer are away,", () => {
    let database: TestDatabase;
    let redis: RedisServer;
    let link: TcpProxy;
    let server: ServerProcess;
    let token: string;

    beforeAll(async () => {
      database = await createTestDatabase();
      redis = await startRedisServer();
      const url = new URL(database.url);
      link = await createTcpProxy({ host: url.hostname, port: Number(url.port || 5432) });
      url.host = `127.0.0.1:${link.port}`;
      const env = { DATABASE_URL: url.href, CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET, REDIS_URL: redis.url };
      token = (await bootstrapAdmin(await loadConfig({ ...env, CLAVIGER_LOG_LEVEL: "silent" }))).secret.reveal();
      const users = { issuer: "https://login.test", audience: "claviger", algorithms: ["ES256"] };
      const nobody = `http://127.0.0.1:${await freePort()}/keys`;
      const issuers = JSON.stringify([{ ...users, jwks_url: nobody }]);
      const policy = JSON.stringify({ audit: { sealEveryMs: 50 }, usage: { foldMs: 50 } });
      server = await startServer({
        env: { ...env, CLAVIGER_LEASE_MS: "1000", CLAVIGER_POLICY: policy, CLAVIGER_JWT_ISSUERS: issuers },
      });
    });
    afterAll(async () => {
      await server?.stop();
      await link?.close();
      await redis?.stop();
      await database?.drop();
    });

    const lines = () =>
      server
        .stderr()
        .split("\n")
        .filter((line) => line.startsWith("{"))
        .map((line) => JSON.parse(line) as Line);
    const count = (message: string) => lines().filter(({ msg }) => msg === message).length;
    const loud = () => lines().filter(({ level, msg }) => ["warn", "error", "fatal"].includes(level) && msg !== BUS);

    it("has a few lines of 5,000 messages of garbage on the bus", async () => {
      const client = new Redis(redis.url);
      const [channel] = (await client.pubsub("CHANNELS", "claviger:*:changes")) as string[];
      expect(channel).toBe(redisNames(/\{(.*)\}/.exec(channel ?? "")?.[1] ?? "").changes);
      const heard = await Promise.all(Array.from({ length: 5000 }, () => client.publish(channel ?? "", "garbage")));
      client.disconnect();
      expect(heard.reduce((sum, each) => sum + each, 0)).toBe(5000);
      await eventually(() => expect(count(BUS)).toBe(MOST));
    });

    it("has as few lines of a long outage as of a short one, and one when it is over", async () => {
      const clients = connect(server.url, token);
      const { secret } = await makeKey(clients, { owner: "outage" });
      let isAway = true;
      const failures: string[] = [];
      const user = connect(server.url, createFakeIssuer().token()).keys;
      const callers = Array.from({ length: 4 }, async () => {
        while (isAway) {
          const calls = [
            clients.verifier.verify({ secret }),
            clients.keys.createKey({ displayName: "k" }),
            user.listKeys({}),
          ];
          await Promise.all(calls.map((call) => call.catch((error: unknown) => failures.push(String(error)))));
          await sleep(10);
        }
      });
      await link.refuse();
      link.reset();
      // Many turns of each chore, many calls, and each reason that there is.
      await sleep(2500);
      const inShort = loud();
      await sleep(5000);
      const inLong = loud();
      await link.resume();
      isAway = false;
      await Promise.all(callers);
      expect(failures.length).toBeGreaterThan(50);
      expect(inLong.map(({ msg }) => msg)).toContain(AWAY);
      expect(inLong.map(({ msg }) => msg)).toContain("the lease could not be renewed; the server tries again");
      expect(count("an issuer has a problem")).toBe(1);
      expect(inLong.length, JSON.stringify(inLong, null, 1)).toBeLessThanOrEqual(6);
      expect(inLong.length).toBeLessThanOrEqual(inShort.length + 1);
      const well = ["the database answers again", "the lease is renewed again"];
      await eventually(() => expect(Math.min(...well.map(count))).toBeGreaterThan(0), { withinMs: 30_000 });
      const over = lines().findLast(({ msg }) => msg === well[0]);
      expect(over?.failures).toBeGreaterThan(50);
      expect(over?.forMs).toBeGreaterThan(7000);
      expect(loud().slice(inLong.length)).toEqual([]);
    }, 60_000);
  });
});
