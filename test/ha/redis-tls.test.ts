import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { bootstrapAdmin } from "../../src/server/bootstrap.ts";
import { loadConfig } from "../../src/server/config/config.ts";
import { makeCertificates, type TestCertificates } from "../../testkit/certificates.ts";
import { TEST_ROOT_SECRET } from "../../testkit/claviger.ts";
import { connect } from "../../testkit/connect.ts";
import { createTestDatabase, type TestDatabase } from "../../testkit/database.ts";
import { describeWithOpenssl, describeWithPostgres, describeWithRedis } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import { startRedisCluster } from "../../testkit/redis-cluster.ts";
import { startRedisSentinel } from "../../testkit/redis-sentinel.ts";
import { startRedisServer } from "../../testkit/redis-server.ts";
import { startServer } from "../../testkit/server-process.ts";
import { makeKey } from "../rpc/make-key.ts";

const PASSWORD = "p@ss/w:o#r?d%&é";
const encoded = encodeURIComponent(PASSWORD);
/** What an operator gives whose server may do no more than it needs. */
const ACL =
  "~claviger:* &claviger:* +eval +publish +subscribe +ping +info +time +del +hget +hset +hmget +hdel +hscan +expire";

const CLUSTER_ACL = "+cluster +asking +readonly +readwrite";

async function makeUser(place: string, rules: string): Promise<void> {
  const operator = new Redis(place);
  await operator.call("ACL", "SETUSER", "keys", "on", `>${PASSWORD}`, ...rules.split(" "));
  operator.disconnect();
}

describeWithPostgres("a server", () => {
  describeWithRedis("with a Redis that is reached", () => {
    describeWithOpenssl("by TLS, sockets and passwords", () => {
      const closing: (() => unknown)[] = [];
      let certificates: TestCertificates;
      let database: TestDatabase;

      beforeAll(async () => {
        certificates = await makeCertificates();
        database = await createTestDatabase();
      });
      afterEach(async () => {
        for (const close of closing.splice(0).reverse()) await close();
      });
      afterAll(async () => {
        await database?.drop();
        certificates?.remove();
      });

      /** It uses Redis for everything, keeps limits, and prints nothing but its own lines, without a password. */
      async function expectUsed(env: Record<string, string>): Promise<void> {
        const settings = { DATABASE_URL: database.url, CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET, ...env };
        const token = (await bootstrapAdmin(await loadConfig(settings))).secret.reveal();
        const server = await startServer({ env: settings });
        closing.push(() => server.stop());
        await eventually(
          async () => {
            const text = await (await fetch(`${server.url}/metrics`)).text();
            const lines = text.split("\n").filter((line) => line.startsWith("claviger_redis_up{"));
            expect(lines.map((line) => line.slice(-1))).toEqual(["1", "1", "1"]);
          },
          { withinMs: 30_000 },
        );
        const clients = connect(server.url, token);
        const { secret } = await makeKey(clients, { owner: `o${Math.random()}`, limits: { requestsPerDay: 3 } });
        const verdicts: Verdict[] = [];
        for (let call = 0; call < 5; call++) verdicts.push((await clients.verifier.verify({ secret })).verdict);
        const { VALID, QUOTA_EXHAUSTED } = Verdict;
        expect(verdicts).toEqual([VALID, VALID, VALID, QUOTA_EXHAUSTED, QUOTA_EXHAUSTED]);
        const printed = server.stderr().trim().split("\n");
        for (const line of printed) expect(() => JSON.parse(line)).not.toThrow();
        expect(printed.join()).not.toMatch(/p@ss|p%40ss/);
        expect(printed.join()).not.toContain('"event":"redis"');
      }

      it("uses a cluster as a user with only the rights that docs/operate/redis.md lists", async () => {
        const redis = await startRedisCluster();
        closing.push(() => redis.stop());
        for (const { url } of redis.nodes) await makeUser(url, `${ACL} ${CLUSTER_ACL}`);
        await expectUsed({ REDIS_URL: redis.url.replaceAll("://", `://keys:${encoded}@`) });
      }, 120_000);

      it("uses one under a private CA", async () => {
        const redis = await startRedisServer({ tls: certificates });
        closing.push(() => redis.stop());
        await expectUsed({ REDIS_URL: redis.url, REDIS_TLS_CA: certificates.caFile });
      });

      it("uses one that wants a client certificate, and a password", async () => {
        const settings = { "tls-auth-clients": "yes", requirepass: PASSWORD };
        const redis = await startRedisServer({ tls: certificates, settings });
        closing.push(() => redis.stop());
        await expectUsed({
          REDIS_URL: `rediss://:${encoded}@127.0.0.1:${redis.port}/5`,
          REDIS_TLS_CA: certificates.caFile,
          REDIS_TLS_CERT: certificates.certFile,
          REDIS_TLS_KEY: certificates.keyFile,
        });
      });

      it("uses the master behind sentinels with TLS, with passwords of both", async () => {
        const redis = await startRedisSentinel({
          tls: certificates,
          settings: { requirepass: PASSWORD, masterauth: PASSWORD },
          sentinelSettings: { requirepass: "of-the-sentinels" },
          sentinelLines: [`sentinel auth-pass main "${PASSWORD}"`],
        });
        closing.push(() => redis.stop());
        await expectUsed({
          REDIS_URL: redis.url.replace("://", `://:${encoded}@`),
          REDIS_TLS_CA: certificates.caFile,
          REDIS_SENTINEL_PASSWORD: "of-the-sentinels",
        });
      }, 120_000);

      it("uses a cluster with TLS and a password", async () => {
        const redis = await startRedisCluster({
          tls: certificates,
          settings: { requirepass: PASSWORD, masterauth: PASSWORD },
        });
        closing.push(() => redis.stop());
        await expectUsed({
          REDIS_URL: redis.url.replaceAll("://", `://:${encoded}@`),
          REDIS_TLS_CA: certificates.caFile,
        });
      }, 120_000);

      it("uses one by its socket, as a user with only the rights that docs/operate/redis.md lists", async () => {
        const folder = mkdtempSync(join(tmpdir(), "claviger-socket-"));
        closing.push(() => rmSync(folder, { recursive: true, force: true }));
        const path = join(folder, "redis.sock");
        const redis = await startRedisServer({ settings: { unixsocket: path } });
        closing.push(() => redis.stop());
        await makeUser(path, ACL);
        await expectUsed({ REDIS_URL: `unix://keys:${encoded}@${path}?db=5` });
      });
    });
  });
});
