import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { bootstrapAdmin } from "../../src/server/bootstrap.ts";
import { loadConfig } from "../../src/server/config/config.ts";
import { TEST_ROOT_SECRET } from "../../testkit/claviger.ts";
import { type Clients, connect } from "../../testkit/connect.ts";
import { createDatabase, createTestDatabase, type TestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres, describeWithRedis } from "../../testkit/describe-with.ts";
import type { Mutation } from "../../testkit/mutation.ts";
import { type RedisServer, startRedisServer } from "../../testkit/redis-server.ts";
import { type ServerProcess, startServer } from "../../testkit/server-process.ts";
import { makeKey } from "../rpc/make-key.ts";

const LEASE_MS = 1000;
const WAIT_MS = (LEASE_MS * 1.02) / 0.98;

/** Two servers on one database. */
interface Pair {
  readonly database: TestDatabase;
  readonly servers: readonly [ServerProcess, ServerProcess];
  readonly clients: readonly [Clients, Clients];
}

describeWithPostgres("two clusters", () => {
  describeWithRedis("that share a Redis, and root secrets", () => {
    let redis: RedisServer;
    let one: Pair;
    let two: Pair;

    async function startPair(): Promise<Pair> {
      const database = await createTestDatabase();
      const env = {
        ...{ DATABASE_URL: database.url, CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET, REDIS_URL: redis.url },
        ...{ CLAVIGER_LOG_LEVEL: "warn", CLAVIGER_LEASE_MS: String(LEASE_MS) },
      };
      const token = (await bootstrapAdmin(await loadConfig(env))).secret.reveal();
      const servers = [await startServer({ env }), await startServer({ env })] as const;
      return { database, servers, clients: [connect(servers[0].url, token), connect(servers[1].url, token)] };
    }

    beforeAll(async () => {
      redis = await startRedisServer();
      [one, two] = [await startPair(), await startPair()];
    });
    afterAll(async () => {
      for (const pair of [one, two]) {
        await Promise.all((pair?.servers ?? []).map((server) => server.kill("SIGKILL")));
        await pair?.database.drop();
      }
      await redis?.stop();
    });

    it("hear nothing of each other, though their revisions are the same", async () => {
      for (let round = 0; round < 10; round++) {
        const keys = await Promise.all([one, two].map(({ clients }) => makeKey(clients[0], { owner: "o" })));
        for (const [at, { clients }] of [one, two].entries()) {
          await clients[1].verifier.verify({ secret: keys[at]?.secret ?? "" });
        }
        const answers = await Promise.all(
          [one, two].map(({ clients }, at) => clients[0].keys.revokeKey({ keyId: keys[at]?.id ?? "" })),
        );
        for (const [at, { clients }] of [one, two].entries()) {
          expect(answers[at]?.receipt).toMatchObject({ confirmedVerifierCount: 2, expiredVerifierCount: 0 });
          const { verdict } = await clients[1].verifier.verify({ secret: keys[at]?.secret ?? "" });
          expect(verdict).toBe(Verdict.REVOKED);
        }
        expect(answers[0]?.receipt?.revision).toBe(answers[1]?.receipt?.revision);
      }
      for (const server of [...one.servers, ...two.servers]) expect(server.stderr()).toBe("");
    });

    it("wait for their own nodes: one that is frozen there holds only its own cluster up", async () => {
      const [here, there] = await Promise.all([one, two].map(({ clients }) => makeKey(clients[0], { owner: "o" })));
      expect((await two.clients[1].verifier.verify({ secret: there?.secret ?? "" })).verdict).toBe(Verdict.VALID);
      const [, frozen] = two.servers;
      await frozen.kill("SIGSTOP");
      const began = performance.now();
      const slow = two.clients[0].keys.revokeKey({ keyId: there?.id ?? "" });
      const { receipt } = await one.clients[0].keys.revokeKey({ keyId: here?.id ?? "" });
      expect(receipt).toMatchObject({ confirmedVerifierCount: 2, expiredVerifierCount: 0 });
      expect((await slow).receipt).toMatchObject({ confirmedVerifierCount: 1, expiredVerifierCount: 1 });
      expect(performance.now() - began).toBeGreaterThanOrEqual(WAIT_MS);
      const late = two.clients[1].verifier.verify({ secret: there?.secret ?? "" });
      await frozen.kill("SIGCONT");
      expect((await late).verdict).toBe(Verdict.REVOKED);
    });
  });

  describeWithRedis("that are clones in one server and share a Redis", () => {
    /** The identity without the number that clones differ by. */
    const SAME_IDENTITY = {
      file: "src/postgres/revisions.ts",
      find: "(select oid from pg_database where datname = current_database()) || ':' ||",
      replace: "",
    };
    let redis: RedisServer;

    beforeAll(async () => {
      redis = await startRedisServer();
    });
    afterAll(() => redis?.stop());

    /** Revokes in one clone; how many revisions the other has applied that its database never had. */
    async function lostInOther(mutate: readonly Mutation[]): Promise<number> {
      const shared = inject("postgres");
      if (!shared) throw new Error("there is no Postgres here");
      const clones: { database: TestDatabase; server: ServerProcess; client: Clients }[] = [];
      try {
        for (let at = 0; at < 2; at++) {
          const database = await createDatabase(shared);
          const env = {
            ...{ DATABASE_URL: database.url, CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET, REDIS_URL: redis.url },
            ...{ CLAVIGER_LOG_LEVEL: "warn", CLAVIGER_LEASE_MS: String(LEASE_MS) },
          };
          const token = (await bootstrapAdmin(await loadConfig(env))).secret.reveal();
          const server = await startServer({ env, mutate });
          clones.push({ database, server, client: connect(server.url, token) });
        }
        const [here, there] = clones;
        if (here === undefined || there === undefined) throw new Error("a clone is missing");
        for (let revocation = 0; revocation < 3; revocation++) {
          const { id } = await makeKey(here.client, { owner: "o" });
          await here.client.keys.revokeKey({ keyId: id });
        }
        // Renewals, at which the other compares what it applied with its database.
        await new Promise((resolve) => setTimeout(resolve, LEASE_MS));
        const text = await (await fetch(`${there.server.url}/metrics`)).text();
        return Number(/^claviger_lost_revisions_total (\d+)$/m.exec(text)?.[1]);
      } finally {
        for (const { server, database } of clones) {
          await server.kill("SIGKILL");
          await database.drop();
        }
      }
    }

    it("take no revision of each other for their own", async () => {
      expect(await lostInOther([])).toBe(0);
    });

    it("control: without the database's oid in the identity they do, and report lost revisions", async () => {
      expect(await lostInOther([SAME_IDENTITY])).toBeGreaterThan(0);
    });
  });
});
