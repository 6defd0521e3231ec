import { afterAll, beforeAll, expect, it } from "vitest";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { bootstrapAdmin } from "../../src/server/bootstrap.ts";
import { loadConfig } from "../../src/server/config/config.ts";
import { type Clients, connect, TEST_ROOT_SECRET } from "../../testkit/claviger.ts";
import { createTestDatabase, type TestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres, describeWithRedis } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import { LEASE, openRaw, type RawStream, said } from "../../testkit/raw-sync.ts";
import { type RedisServer, startRedisServer } from "../../testkit/redis-server.ts";
import { type ServerProcess, startServer } from "../../testkit/server-process.ts";
import { makeKey } from "../rpc/make-key.ts";

const LEASE_MS = 2000;

describeWithPostgres("a change that waits", () => {
  describeWithRedis("for an agent of another node, or for that node,", () => {
    let database: TestDatabase;
    let redis: RedisServer;
    let servers: readonly [ServerProcess, ServerProcess];
    let here: Clients;
    const agents: RawStream[] = [];

    beforeAll(async () => {
      database = await createTestDatabase();
      redis = await startRedisServer();
      const env = {
        ...{ DATABASE_URL: database.url, CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET, REDIS_URL: redis.url },
        ...{ CLAVIGER_LOG_LEVEL: "warn", CLAVIGER_LEASE_MS: String(LEASE_MS) },
      };
      const token = (await bootstrapAdmin(await loadConfig(env))).secret.reveal();
      servers = [await startServer({ env }), await startServer({ env })];
      here = connect(servers[0].url, token);
    });
    afterAll(async () => {
      for (const { session } of agents) session.destroy();
      await Promise.all((servers ?? []).map((server) => server.kill("SIGKILL")));
      await redis?.stop();
      await database?.drop();
    });

    /** An agent on the second node that knows the key, and acknowledges nothing. */
    async function attachSilent(adminToken: string, secret: string): Promise<void> {
      const agent = openRaw({ url: servers[1].url, adminToken });
      agents.push(agent);
      let bytes = 0;
      agent.stream.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
      });
      agent.stream.write(LEASE);
      await eventually(() => expect(bytes).toBeGreaterThan(0));
      const granted = bytes;
      agent.stream.write(said({ case: "ask", value: { id: 1n, request: { secret } } }));
      await eventually(() => expect(bytes).toBeGreaterThan(granted));
    }

    const warnings = ({ stderr }: ServerProcess, event: string) =>
      stderr()
        .split("\n")
        .filter((line) => line.includes(`"event":"${event}"`))
        .map((line) => JSON.parse(line));
    const metric = async ({ url }: ServerProcess, name: string) => {
      const text = await (await fetch(`${url}/metrics`)).text();
      return Number(
        text
          .split("\n")
          .find((line) => line.startsWith(`${name} `))
          ?.slice(name.length + 1) ?? 0,
      );
    };
    const WAITED = 'claviger_barrier_duration_seconds_count{outcome="waited"}';

    it("counts the agent in the receipt and in the metrics, and both nodes name what they waited for", async () => {
      const service = await makeKey(here, { owner: "carol", scopes: ["claviger:verify"] });
      const { id, secret } = await makeKey(here, { owner: "alice" });
      await attachSilent(service.secret, secret);
      const { receipt } = await here.keys.revokeKey({ keyId: id });
      // The agent, of which its node has told; or the node, if it noticed too late that the agent's lease had ended.
      expect(receipt?.expiredVerifierCount).toBe(1);
      const agent = { keyId: service.id, owner: "carol", address: "127.0.0.1" };
      await eventually(() =>
        expect(warnings(servers[1], "slow agent")).toMatchObject([{ agent, ended: "lease ran out" }]),
      );
      const delay = { address: servers[1].url, revision: Number(receipt?.revision) };
      expect(warnings(servers[0], "slow node")).toContainEqual(expect.objectContaining(delay));
      expect(await metric(servers[1], "claviger_agents_waited_out_total")).toBe(1);
      expect(await metric(servers[0], WAITED)).toBe(1);
    });

    it("names a node that it waited out", async () => {
      const { id, secret } = await makeKey(here, { owner: "alice" });
      expect((await here.verifier.verify({ secret })).verdict).toBe(Verdict.VALID);
      await servers[1].kill("SIGSTOP");
      try {
        const { receipt } = await here.keys.revokeKey({ keyId: id });
        expect(receipt).toMatchObject({ confirmedVerifierCount: 1, expiredVerifierCount: 1 });
      } finally {
        await servers[1].kill("SIGCONT");
      }
      const delay = { address: servers[1].url, ended: "lease ran out" };
      expect(warnings(servers[0], "slow node")).toContainEqual(expect.objectContaining(delay));
      expect(await metric(servers[0], WAITED)).toBe(2);
    });
  });
});
