import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { bootstrapAdmin } from "../../src/server/bootstrap.ts";
import { loadConfig } from "../../src/server/config/config.ts";
import { connect, TEST_ROOT_SECRET } from "../../testkit/claviger.ts";
import { createTestDatabase, type TestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import type { Mutation } from "../../testkit/mutation.ts";
import { startServer } from "../../testkit/server-process.ts";
import { holdLock } from "./held-lock.ts";

const POOL_SIZE = 2;
const POLICY = { postgres: { poolSize: POOL_SIZE, probeEveryMs: 100, probeTimeoutMs: 1000 } };
/** Management leaves connections to others, which is another mitigation: here it may take all. */
const TAKES_ALL: Mutation = {
  file: "src/manage/bulkhead.ts",
  find: "bulkhead.storageFor(deps.storage, errand)",
  replace: "deps.storage",
};
/** For several probes. */
const HELD_MS = 3000;

describeWithPostgres("changes that wait for a lock on all of a server's connections", () => {
  let database: TestDatabase;
  let env: Record<string, string>;
  let token: string;

  beforeAll(async () => {
    database = await createTestDatabase();
    env = {
      ...{ DATABASE_URL: database.url, CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET, CLAVIGER_LOG_LEVEL: "warn" },
      CLAVIGER_POLICY: JSON.stringify(POLICY),
    };
    token = (await bootstrapAdmin(await loadConfig(env))).secret.reveal();
  });
  afterAll(() => database.drop());

  /** Of as many as there are connections and two more: how many are made, and what the server has logged. */
  async function createWhileHeld(owner: string, mutations: readonly Mutation[]) {
    const server = await startServer({ env, mutate: [TAKES_ALL, ...mutations] });
    try {
      const { keys } = connect(server.url, token);
      const create = () => keys.createKey({ owner, displayName: "waits" });
      await create();
      const lock = await holdLock(database.url, (sql) => sql`select from key_owner where id = ${owner} for update`);
      const creations = Promise.allSettled(Array.from({ length: POOL_SIZE + 2 }, create));
      await lock.waiters(POOL_SIZE);
      await sleep(HELD_MS);
      await lock.release();
      const made = (await creations).filter(({ status }) => status === "fulfilled").length;
      return { made, log: server.stderr() };
    } finally {
      await server.stop();
    }
  }

  it("are all made: a database that is busy is not taken for one that hangs", async () => {
    const { made, log } = await createWhileHeld("busy", []);
    expect(log).not.toContain("the database could not be asked");
    expect(made).toBe(POOL_SIZE + 2);
  });

  it("control: are cut off where the probe waits for one of the same connections", async () => {
    const onTheSame = {
      file: "src/postgres/connect/postgres-connection.ts",
      find: "probing.query",
      replace: "pool.query",
    };
    const { made, log } = await createWhileHeld("cut-off", [onTheSame]);
    expect(log).toContain("the database could not be asked");
    expect(made).toBeLessThan(POOL_SIZE + 2);
  });
});
