import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { openPglite } from "../../src/postgres/connect/pglite-connection.ts";
import { connectPostgres } from "../../src/postgres/connect/postgres-connection.ts";
import { type Connection, type Database, Storage } from "../../src/postgres/storage.ts";
import { DEFAULT_POLICY } from "../../src/server/config/policy.ts";
import { createTestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";

interface Opened {
  readonly connection: Connection;
  remove(): Promise<unknown>;
}

function transactions(open: () => Promise<Opened>): void {
  let opened: Opened;
  let connection: Connection;

  beforeAll(async () => {
    opened = await open();
    connection = opened.connection;
    await connection.read((database) => database.execute(sql`create table counted (n integer)`));
  });
  afterAll(async () => {
    await connection?.close();
    await opened?.remove();
  });

  const count = async () => {
    const { rows } = (await connection.read((database) =>
      database.execute(sql`select count(*)::int as n from counted`),
    )) as unknown as {
      rows: { n: number }[];
    };
    return rows[0]?.n;
  };

  it("is not reported as committed when its work swallowed the error of a statement", async () => {
    const broken = connection.transaction(async (transaction) => {
      await transaction.execute(sql`insert into counted values (1)`);
      await transaction.execute(sql`select 1 / 0`).catch(() => "unheard");
    });
    await expect(broken).rejects.toThrow(/rolled back/);
    expect(await count()).toBe(0);
  });

  const fail = (code: string) => sql.raw(`do $$ begin raise exception using errcode = '${code}'; end $$`);
  /** Asks two statements together, and hears the second one first. */
  const heardLate = (code: string) => async (transaction: Database) => {
    const first = transaction.execute(fail(code));
    first.catch(() => undefined);
    await transaction.execute(sql`insert into counted values (1)`);
    await first;
  };

  it("rejects with the error that broke it, not with that of a later statement, which says only that it is broken", async () => {
    await expect(connection.transaction(heardLate("53100"))).rejects.toMatchObject({ code: "53100" });
    await expect(connection.transaction(heardLate("23505"))).rejects.toMatchObject({ code: "23505" });
  });

  it("that a full disk has broken is STORAGE_UNAVAILABLE, whichever statement is heard, and if none is", async () => {
    const storage = new Storage({ connect: () => connection, timeoutMs: 10_000 });
    const unheard = async (transaction: Database) =>
      void (await transaction.execute(fail("53100")).catch(() => "unheard"));
    await expect(storage.transaction(unheard)).rejects.toMatchObject({ reason: "STORAGE_UNAVAILABLE" });
    await expect(storage.transaction(heardLate("53100"))).rejects.toMatchObject({
      reason: "STORAGE_UNAVAILABLE",
    });
    expect(await count()).toBe(0);
  });

  it("is run again when a deadlock broke it, whichever statement is heard", async () => {
    const storage = new Storage({ connect: () => connection, timeoutMs: 10_000 });
    let attempts = 0;
    const outcome = await storage.transaction(async (transaction) => {
      attempts += 1;
      if (attempts > 1) return "made";
      const first = transaction.execute(fail("40P01"));
      first.catch(() => undefined);
      await transaction.execute(sql`select 1`);
      return first;
    });
    expect([outcome, attempts]).toEqual(["made", 2]);
  });

  it("leaves its connection as it found it, whether it was made or not", async () => {
    await expect(connection.transaction(() => Promise.reject(new Error("changed my mind")))).rejects.toThrow("mind");
    await connection.transaction(async (transaction) => {
      await transaction.execute(sql`insert into counted values (1)`);
    });
    expect(await count()).toBe(1);
  });
}

describeWithPostgres("a transaction on Postgres", () => {
  transactions(async () => {
    const database = await createTestDatabase();
    const connection = connectPostgres({ url: database.url, role: undefined, ...DEFAULT_POLICY.postgres });
    return { connection, remove: () => database.drop() };
  });
});

describe("a transaction on the embedded Postgres", () => {
  transactions(async () => {
    const folder = await mkdtemp(join(tmpdir(), "claviger-transaction-"));
    await cp(inject("embedded").template, folder, { recursive: true });
    return { connection: await openPglite(folder), remove: () => rm(folder, { recursive: true }) };
  });
});
