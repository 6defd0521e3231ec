import { sql } from "drizzle-orm";
import { afterAll, beforeAll, expect, it } from "vitest";
import { connectPostgres } from "../../src/postgres/postgres-connection.ts";
import type { Connection } from "../../src/postgres/storage.ts";
import { DEFAULT_POLICY } from "../../src/server/policy.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { describeWithPostgres } from "../support/describe-with.ts";

describeWithPostgres("a transaction", () => {
  let database: TestDatabase;
  let connection: Connection;

  beforeAll(async () => {
    database = await createTestDatabase();
    connection = connectPostgres({ url: database.url, role: undefined, ...DEFAULT_POLICY });
    await connection.read((database) => database.execute(sql`create table counted (n integer)`));
  });
  afterAll(async () => {
    await connection?.close();
    await database?.drop();
  });

  const count = async () => {
    const { rows } = (await connection.read((database) =>
      database.execute(sql`select count(*)::int as n from counted`),
    )) as unknown as {
      rows: { n: number }[];
    };
    return rows[0]?.n;
  };

  it("that a statement has broken, which nobody heard, is not taken for made", async () => {
    const broken = connection.transaction(async (transaction) => {
      await transaction.execute(sql`insert into counted values (1)`);
      await transaction.execute(sql`select 1 / 0`).catch(() => "unheard");
    });
    await expect(broken).rejects.toThrow(/undone/);
    expect(await count()).toBe(0);
  });

  it("leaves its connection as it found it, whether it was made or not", async () => {
    await expect(connection.transaction(() => Promise.reject(new Error("changed my mind")))).rejects.toThrow("mind");
    await connection.transaction(async (transaction) => {
      await transaction.execute(sql`insert into counted values (1)`);
    });
    expect(await count()).toBe(1);
  });
});
