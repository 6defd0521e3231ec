import { sql } from "drizzle-orm";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { connectPostgres, type PostgresOptions } from "../../src/postgres/connect/postgres-connection.ts";
import { secretVersion } from "../../src/postgres/schema.ts";
import { findByDigests as find, findSecret } from "../../src/postgres/secrets.ts";
import { Storage } from "../../src/postgres/storage.ts";
import { loadConfig } from "../../src/server/config/config.ts";
import { DEFAULT_POLICY } from "../../src/server/config/policy.ts";
import { openStorage } from "../../src/server/open/open-storage.ts";
import { TEST_ROOT_SECRET } from "../../testkit/claviger.ts";
import { createTestDatabase, type TestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import { filledKeyId, fillKeys } from "../rpc/fill-keys.ts";

/** After so many, Postgres may keep the plan. */
const RUNS = 6;

describeWithPostgres("A look-up whose plan Postgres keeps", () => {
  let database: TestDatabase;
  const opened: Storage[] = [];

  beforeEach(async () => {
    database = await createTestDatabase();
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((storage) => storage.close()));
    await database.drop();
  });

  /** On one connection. */
  function open(keepsPlans: boolean): Storage {
    const options = { ...DEFAULT_POLICY.postgres, url: database.url, role: undefined, poolSize: 1, keepsPlans };
    const storage = new Storage({ connect: () => connectPostgres(options), timeoutMs: 3000 });
    opened.push(storage);
    return storage;
  }

  /** Looks up a secret until the plan is kept; returns its digest. */
  async function lookUp(storage: Storage): Promise<Buffer> {
    const [row] = await storage.read((db) => db.select({ digest: secretVersion.digest }).from(secretVersion).limit(1));
    const digest = row?.digest ?? Buffer.alloc(32);
    for (let run = 0; run < RUNS; run++) {
      expect((await storage.read((db) => find(db, [digest]))).has(digest.toString("hex"))).toBe(true);
    }
    return digest;
  }

  /** The plan that is kept of tables with three rows; `before` is set on its connection. */
  async function planOfFew(before: string): Promise<string> {
    const storage = open(true);
    await storage.read((db) => db.execute(sql.raw(before)));
    await fillKeys(storage, { name: "few", count: 3 });
    await storage.read((db) => db.execute(sql`analyze`));
    const digest = await lookUp(storage);
    const execute = `explain (format json) execute find_1_by_digest('\\x${digest.toString("hex")}')`;
    return JSON.stringify(await storage.read((db) => db.execute(sql.raw(execute))));
  }

  it("uses the indexes also where the tables were small when it was made", async () => {
    const plan = await planOfFew("select");
    expect(plan).not.toContain("Seq Scan");
    expect(plan).toContain("secret_version_digest");
  });

  it("and would go on reading whole tables if connections were not told otherwise", async () => {
    expect(await planOfFew("set enable_seqscan = on")).toContain("Seq Scan");
  });

  it.each([
    { settings: "DATABASE_URL alone", isPooler: false, kept: ["find_1_by_digest"] },
    { settings: "CLAVIGER_LEASE_DATABASE_URL too, so that a pooler may be in between", isPooler: true, kept: [] },
  ])("is for connections of one's own: with $settings, Postgres keeps $kept", async ({ isPooler, kept }) => {
    const { url } = database;
    const settings = { DATABASE_URL: url, ...(isPooler ? { CLAVIGER_LEASE_DATABASE_URL: url } : {}) };
    const storage = await openStorage(await loadConfig({ ...settings, CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET }));
    try {
      await storage.misses.read((db) => find(db, [Buffer.alloc(32)]));
      const names = sql<string>`name`;
      const rows = await storage.misses.read((db) => db.select({ names }).from(sql`pg_prepared_statements`));
      expect(rows.map((row) => row.names)).toEqual(kept);
    } finally {
      await storage.close();
    }
  });

  describe("in a transaction", () => {
    const settings = { role: undefined, poolSize: 1 } as const;
    const openWith = (options: Partial<PostgresOptions>) => {
      const all = { ...DEFAULT_POLICY.postgres, ...settings, url: database.url, ...options };
      const storage = new Storage({ connect: () => connectPostgres(all), timeoutMs: 3000 });
      opened.push(storage);
      return storage;
    };
    /** What Postgres keeps of a connection whose transactions have found a secret often enough. */
    async function keptBy(storage: Storage): Promise<{ names: string[]; plan: string | undefined }> {
      await fillKeys(storage, { name: "few", count: 3 });
      await storage.read((db) => db.execute(sql`analyze`));
      const keyId = filledKeyId("few", 1);
      for (let run = 0; run < RUNS; run++) {
        expect(await storage.transaction((db) => findSecret(db, keyId, 1))).toBeDefined();
      }
      return storage.transaction(async (db) => {
        const name = sql<string>`name`;
        const rows = await db.select({ name }).from(sql`pg_prepared_statements`);
        const names = rows.map((row) => row.name);
        const explain = sql.raw(`explain (format json) execute find_secret('${keyId}', 1)`);
        return { names, plan: names.length === 0 ? undefined : JSON.stringify(await db.execute(explain)) };
      });
    }

    it("is kept too on a direct connection, and uses the index of a table that was small", async () => {
      const { names, plan } = await keptBy(openWith({}));
      expect(names).toEqual(["find_secret"]);
      expect(plan).toContain("secret_version_key_id_version_pk");
      expect(plan).not.toContain("Seq Scan");
    });

    it("is not kept where a transaction pooler may send the next one on another connection", async () => {
      expect(await keptBy(openWith({ settings: "transaction" }))).toEqual({ names: [], plan: undefined });
    });
  });

  it("fails once, and then no more, after a migration has changed what it reads", async () => {
    const storage = open(true);
    await fillKeys(storage, { name: "few", count: 3 });
    const digest = await lookUp(storage);
    await open(false).read((db) => db.execute(sql`alter table api_key alter column limits type json`));
    await expect(storage.read((db) => find(db, [digest]))).rejects.toThrow();
    await lookUp(storage);
  });
});
