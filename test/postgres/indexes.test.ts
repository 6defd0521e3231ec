import { sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/postgres-js";
import postgres from "postgres";
import { afterAll, beforeAll, expect, it } from "vitest";
import { connectPostgres } from "../../src/postgres/connect/postgres-connection.ts";
import { countUnrevoked, deleteDeadSince, findKey, listKeys, lockUnrevoked } from "../../src/postgres/keys.ts";
import { countLiveKeys, lockOwner } from "../../src/postgres/owners.ts";
import { countLiveSecrets, findByDigests, findSecret, listSecrets } from "../../src/postgres/secrets.ts";
import { type Database, Storage } from "../../src/postgres/storage.ts";
import { queryUsage, readCharged } from "../../src/postgres/usage-query.ts";
import { createTestDatabase, type TestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import { filledKeyId, fillKeys } from "../rpc/fill-keys.ts";

const TIMEOUTS = {
  role: undefined,
  storageTimeoutMs: 30_000,
  statementTimeoutMs: 30_000,
  lockTimeoutMs: 5000,
  idleInTransactionTimeoutMs: 5000,
};
const MINUTE_MS = 60_000;

/** What EXPLAIN says of one step of a statement's plan. */
interface PlanNode {
  readonly "Node Type": string;
  readonly "Relation Name"?: string;
  readonly "Index Name"?: string;
  readonly Plans?: readonly PlanNode[];
}

interface Plan {
  readonly indexes: readonly string[];
  /** Tables that are read from end to end. */
  readonly scanned: readonly string[];
}

function flatten(node: PlanNode): PlanNode[] {
  return [node, ...(node.Plans ?? []).flatMap(flatten)];
}

describeWithPostgres("Every hot query uses its index", () => {
  let database: TestDatabase | undefined;
  let client: postgres.Sql | undefined;

  beforeAll(async () => {
    database = await createTestDatabase();
    const storage = new Storage({
      connect: () => connectPostgres({ url: database?.url ?? "", poolSize: 2, ...TIMEOUTS }),
      timeoutMs: 30_000,
    });
    try {
      await fillKeys(storage, { name: "many", count: 20_000, owners: 2000 });
      await fillKeys(storage, { name: "one", count: 300 });
      await storage.read((db) =>
        db.execute(sql`insert into usage_hour select date_trunc('hour', now() - hour * interval '1 hour', 'UTC'), id, '', 1,
          'valid', '', 1, 1 from (select id from api_key order by id limit 500) as keys, generate_series(0, 99) as hour`),
      );
      await storage.read((db) =>
        db.execute(sql`insert into key_last_used select key_id, version, now() from secret_version`),
      );
      await storage.read((db) => db.execute(sql`analyze`));
    } finally {
      await storage.close();
    }
    client = postgres(database.url, { max: 1, onnotice: () => undefined });
  });
  afterAll(async () => {
    await client?.end();
    await database?.drop();
  });

  /** The plans of the statements that `query` runs; what it changes is undone. */
  async function plansOf(query: (database: Database) => Promise<unknown>): Promise<Plan[]> {
    if (client === undefined) throw new Error("no database");
    const statements: { readonly text: string; readonly params: readonly unknown[] }[] = [];
    const logger = { logQuery: (text: string, params: unknown[]) => statements.push({ text, params }) };
    const undo = new Error("undo");
    const work = drizzle(client, { logger }).transaction(async (transaction) => {
      await query(transaction);
      throw undo;
    });
    await expect(work).rejects.toBe(undo);
    const plans: Plan[] = [];
    for (const { text, params } of statements.filter((statement) => !/^(begin|rollback)/.test(statement.text))) {
      const rows = await client.unsafe(`explain (format json) ${text}`, params as postgres.ParameterOrJSON<never>[]);
      const nodes = flatten(rows[0]?.["QUERY PLAN"][0].Plan);
      plans.push({
        indexes: nodes.flatMap((node) => node["Index Name"] ?? []),
        scanned: nodes.filter((n) => n["Node Type"].includes("Seq Scan")).flatMap((n) => n["Relation Name"] ?? []),
      });
    }
    return plans;
  }

  const digest = (fill: number) => Buffer.alloc(32, fill);
  const labels = { number: "77", of: "many" };
  const soon = new Date(Date.now() + 5 * MINUTE_MS);
  const page = { after: undefined, limit: 51 };
  const longAgo = new Date(Date.now() - 19_900 * MINUTE_MS);
  const keyId = filledKeyId("one", 150);

  it.each<[string, (db: Database) => Promise<unknown>, readonly string[]]>([
    ["looks up one digest", (db) => findByDigests(db, [digest(1)]), ["secret_version_digest", "api_key_pkey"]],
    [
      "looks up a hundred digests",
      (db) =>
        findByDigests(
          db,
          Array.from({ length: 100 }, (_, i) => digest(i)),
        ),
      ["secret_version_digest", "api_key_pkey"],
    ],
    ["reads a key", (db) => findKey(db, keyId), ["api_key_pkey"]],
    ["reads one secret", (db) => findSecret(db, keyId, 1), ["secret_version_key_id_version_pk"]],
    ["counts a key's live secrets", (db) => countLiveSecrets(db, keyId), ["secret_version_key_id_version_pk"]],
    ["counts an owner's live keys", (db) => countLiveKeys(db, "many-7", ""), ["api_key_owner_id"]],
    ["lists an owner's page", (db) => listKeys(db, { owner: "many-7" }, page), ["api_key_owner_id"]],
    ["lists a page of the owner with most keys", (db) => listKeys(db, { owner: "one-0" }, page), ["api_key_owner_id"]],
    [
      "lists a further page of an owner",
      (db) => listKeys(db, { owner: "one-0" }, { ...page, after: keyId }),
      ["api_key_owner_id"],
    ],
    ["lists a page of all keys", (db) => listKeys(db, {}, page), ["api_key_pkey"]],
    ["lists a further page of all keys", (db) => listKeys(db, {}, { ...page, after: keyId }), ["api_key_pkey"]],
    ["lists by labels", (db) => listKeys(db, { labels }, page), ["api_key_labels"]],
    ["lists what expires soon", (db) => listKeys(db, { expiresBefore: soon }, page), ["secret_version_expire_time"]],
    ["lists what is active", (db) => listKeys(db, { state: "active" }, page), ["api_key_pkey"]],
    ["finds an owner's keys to revoke", (db) => lockUnrevoked(db, { owner: "many-7" }, 1000), ["api_key_owner_id"]],
    ["counts an owner's keys to revoke", (db) => countUnrevoked(db, { owner: "many-7" }), ["api_key_owner_id"]],
    ["finds keys to revoke by labels", (db) => lockUnrevoked(db, { labels }, 1000), ["api_key_labels"]],
    ["counts keys to revoke by labels", (db) => countUnrevoked(db, { labels }), ["api_key_labels"]],
  ])("%s", async (_, query, indexes) => {
    const plans = await plansOf(query);
    expect(plans).toHaveLength(1);
    expect(plans[0]?.indexes).toEqual(expect.arrayContaining([...indexes]));
    expect(plans[0]?.scanned.filter((table) => table !== "revision")).toEqual([]);
  });

  const span = { startTime: longAgo, endTime: new Date(), step: "hour", groupBy: ["verdict"], limit: 1000 } as const;
  it.each<[string, (db: Database) => Promise<unknown>]>([
    ["a key's usage", (db) => queryUsage(db, { ...span, keyId })],
    ["an owner's usage", (db) => queryUsage(db, { ...span, owner: "many-7" })],
    ["what was charged on a day", (db) => readCharged(db, keyId, longAgo)],
  ])("reads %s", async (_, query) => {
    const [plan] = await plansOf(query);
    expect(plan?.indexes.some((index) => index.startsWith("usage_hour_default_"))).toBe(true);
    expect(plan?.scanned.filter((table) => table.startsWith("usage_hour"))).toEqual([]);
  });

  it("reads the secrets of a page of keys", async () => {
    let asked = 0;
    const plans = await plansOf(async (db) => {
      const keys = await listKeys(db, { owner: "one-0" }, page);
      asked = (await listSecrets(db, keys, 20).send()).size;
    });
    expect(asked).toBe(51);
    expect(plans[1]?.indexes).toContain("secret_version_key_id_version_pk");
    expect(plans[1]?.scanned).toEqual([]);
  });

  it("holds an owner", async () => {
    const plans = await plansOf((db) => lockOwner(db, "many-7"));
    expect(plans.flatMap(({ scanned }) => scanned)).toEqual([]);
    expect(plans[1]?.indexes).toEqual(["key_owner_pkey"]);
  });

  it("finds the keys to forget", async () => {
    const [plan] = await plansOf((db) => deleteDeadSince(db, longAgo, 1000));
    expect(plan?.indexes).toEqual(expect.arrayContaining(["api_key_revoke_time", "secret_version_expire_time"]));
    expect(plan?.scanned).toEqual([]);
  });

  it("and without its index it would read the whole table, which this suite sees", async () => {
    const [plan] = await plansOf((db) => db.execute(sql`select 1 from api_key where display_name = 'x'`));
    expect(plan?.scanned).toEqual(["api_key"]);
  });
});
