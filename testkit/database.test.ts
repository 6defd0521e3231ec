import postgres from "postgres";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "./database.ts";
import { describeWithPostgres } from "./describe-with.ts";

describeWithPostgres("a test database", () => {
  let databases: TestDatabase[];

  beforeAll(async () => {
    databases = await Promise.all([createTestDatabase(), createTestDatabase(), createTestDatabase()]);
  });
  afterAll(async () => {
    await Promise.all(databases.map((database) => database.drop()));
  });

  async function query(database: TestDatabase | undefined, text: string): Promise<string[]> {
    const sql = postgres(database?.url ?? "", { max: 1 });
    try {
      return (await sql.unsafe(text)).map((row) => String(Object.values(row)[0]));
    } finally {
      await sql.end();
    }
  }

  test("is migrated", async () => {
    const tables = await query(databases[0], "select tablename from pg_tables where schemaname = 'public'");
    expect(tables).toContain("verifier");
  });

  test("shares nothing with another one", async () => {
    await query(databases[0], "create table mine (id int)");
    expect(await query(databases[1], "select to_regclass('mine')")).toEqual(["null"]);
  });

  test("is gone after drop(), also while somebody is connected", async () => {
    const dropped = await createTestDatabase();
    const holder = postgres(dropped.url, { max: 1, onnotice: () => undefined });
    await holder`select 1`;
    await dropped.drop();
    await expect(query(dropped, "select 1")).rejects.toThrow("does not exist");
    await holder.end({ timeout: 1 });
  });
});
