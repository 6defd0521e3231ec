import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { bootstrapAdmin } from "../../src/server/bootstrap.ts";
import { loadConfig } from "../../src/server/config/config.ts";
import { TEST_ROOT_SECRET } from "../../testkit/claviger.ts";
import { createTestDatabase, type TestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import { freePort } from "../../testkit/free-port.ts";
import { runProgram } from "../../testkit/run-program.ts";
import { type ServerProcess, startServer } from "../../testkit/server-process.ts";

const BIN = fileURLToPath(new URL("../../bin/claviger.js", import.meta.url));
/** A node that takes no notice of revocations. */
const DEAF = [{ file: "src/verify/decide.ts", find: 'if (key.revokeTime !== null) return "revoked";', replace: "" }];

describeWithPostgres("the canary", () => {
  let database: TestDatabase;
  let env: Record<string, string>;
  let servers: ServerProcess[];

  beforeAll(async () => {
    database = await createTestDatabase();
    env = {
      ...{ DATABASE_URL: database.url, CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET, CLAVIGER_LOG_LEVEL: "silent" },
      CLAVIGER_LEASE_MS: "1000",
    };
    const { secret } = await bootstrapAdmin(await loadConfig(env));
    const watching = { ...env, CLAVIGER_CANARY_MS: "1000" };
    servers = await Promise.all([
      startServer({ env: watching }),
      startServer({ env }),
      startServer({ env, mutate: DEAF }),
    ]);
    env = { ...env, CLAVIGER_TOKEN: secret.reveal(), CLAVIGER_URL: servers[0]?.url ?? "" };
  });
  afterAll(async () => {
    await Promise.all((servers ?? []).map((server) => server.stop()));
    await database?.drop();
  });

  const urlOf = (index: number) => servers[index]?.url ?? "";
  const canary = (nodes: readonly string[]) => {
    const named = nodes.flatMap((node) => ["--node", node]);
    return runProgram(process.execPath, [BIN, "canary", "--rounds", "2", "--every", "10ms", ...named], { env });
  };

  it("finds that every node obeys", async () => {
    const { code, stdout } = await canary([urlOf(0), urlOf(1)]);
    expect(stdout.match(/every node obeys/g)).toHaveLength(2);
    expect(code).toBe(0);
  });

  it("needs no server beside the nodes", async () => {
    const words = [BIN, "canary", "--rounds", "1", "--node", urlOf(0), "--node", urlOf(1)];
    const { code, stdout } = await runProgram(process.execPath, words, { env: { ...env, CLAVIGER_URL: "" } });
    expect(stdout).toContain("verified on 2 of 2 nodes");
    expect(code).toBe(0);
  });

  it("asks every live node of the database when none is named, the deaf one too", async () => {
    const words = [BIN, "canary", "--rounds", "1", "--json"];
    const { code, stdout } = await runProgram(process.execPath, words, { env: { ...env, CLAVIGER_URL: "" } });
    const round = JSON.parse(stdout);
    expect(round.reached.toSorted()).toEqual([0, 1, 2].map(urlOf).sort());
    expect(round.revokedButAccepted).toEqual([urlOf(2)]);
    expect(code).toBe(1);
  });

  it("names a node that accepts a revoked key, and ends with 1", async () => {
    const { code, stdout } = await canary([urlOf(1), urlOf(2)]);
    expect(stdout).toContain(`REVOKED BUT ACCEPTED by ${urlOf(2)}`);
    expect(code).toBe(1);
  });

  it("says that a node could not be asked, and ends with 4", async () => {
    const nobody = `http://127.0.0.1:${await freePort()}`;
    const { code, stdout } = await canary([urlOf(1), nobody]);
    expect(stdout).toContain(`${nobody} could not be asked`);
    expect(code).toBe(4);
  });

  it("runs inside a server too, on every live node, and its metric counts what is accepted", async () => {
    await eventually(async () => {
      const text = await (await fetch(`${urlOf(0)}/metrics`)).text();
      expect(Number(/^claviger_canary_revoked_but_accepted_total (\d+)/m.exec(text)?.[1])).toBeGreaterThan(0);
      expect(Number(/^claviger_canary_rounds_total (\d+)/m.exec(text)?.[1])).toBeGreaterThan(0);
    });
    expect(await (await fetch(`${urlOf(1)}/metrics`)).text()).not.toContain("claviger_canary");
  });

  it("`claviger nodes` lists each node with its lease, its lag and its address", async () => {
    const { code, stdout } = await runProgram(process.execPath, [BIN, "nodes", "--direct", "--json"], { env });
    expect(code).toBe(0);
    const { nodes } = JSON.parse(stdout);
    expect(nodes.map(({ address }: { address: string }) => address).sort()).toEqual([0, 1, 2].map(urlOf).sort());
    for (const node of nodes) expect(node).toMatchObject({ state: "NODE_STATE_LIVE", term: "1s" });
    const { stdout: table } = await runProgram(process.execPath, [BIN, "nodes", "--direct"], { env });
    expect(table).toMatch(/^ADDRESS +LEASE +TERM +RENEWED +LAG +EPOCH\n/);
  });
});

describeWithPostgres("processes that share an address, or have none of their own", () => {
  it("are each found, and asked, by the canary", async () => {
    const database = await createTestDatabase();
    const settings = { DATABASE_URL: database.url, CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET };
    const env = { ...settings, CLAVIGER_LOG_LEVEL: "silent" };
    const { secret } = await bootstrapAdmin(await loadConfig(env));
    const server = await startServer({ env: { ...env, CLAVIGER_LISTEN: "0.0.0.0:0", CLAVIGER_WORKERS: "2" } });
    try {
      const words = [BIN, "canary", "--rounds", "1", "--json"];
      const { code, stdout } = await runProgram(process.execPath, words, {
        env: { ...env, CLAVIGER_TOKEN: secret.reveal() },
      });
      const round = JSON.parse(stdout);
      expect(round.reached).toHaveLength(2);
      expect(new Set(round.reached)).toEqual(new Set(round.nodes));
      expect(round).toMatchObject({ undecided: [], revokedButAccepted: [] });
      expect(code).toBe(0);
    } finally {
      await server.stop();
      await database.drop();
    }
  });
});
