import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sql } from "drizzle-orm";
import fc from "fast-check";
import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from "vitest";
import { openPglite } from "../../src/postgres/connect/pglite-connection.ts";
import { connectPostgres } from "../../src/postgres/connect/postgres-connection.ts";
import { TransactionClient } from "../../src/postgres/connect/transaction-client.ts";
import { translateError } from "../../src/postgres/errors.ts";
import { Ending, type Statement } from "../../src/postgres/statements.ts";
import { type Connection, type Database, Storage } from "../../src/postgres/storage.ts";
import { DEFAULT_POLICY } from "../../src/server/config/policy.ts";
import { createTestDatabase, type TestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";

/** `good` is executed, `bad` refused by Postgres, and `unsendable` fails before it is sent. */
type Kind = "good" | "bad" | "unsendable";

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

  /** A statement of the end: one that Postgres executes or refuses, or one that is never sent. */
  const statement = (transaction: Database, kind: Kind): Statement<unknown> => ({
    async send() {
      if (kind === "unsendable") throw new Error("unsendable");
      await transaction.execute(kind === "good" ? sql`insert into counted values (2)` : fail("23505"));
    },
  });

  it("makes all of the statements that go with its COMMIT or none, whichever of them fails", async () => {
    const kinds = fc.constantFrom<Kind>("good", "good", "bad", "unsendable");
    const works = fc.record({ last: fc.array(kinds, { maxLength: 5 }), readsFirst: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(works, async ({ last, readsFirst }) => {
        const before = (await count()) ?? 0;
        const made = connection.transaction(async (transaction) => {
          if (readsFirst) await transaction.execute(sql`select 1`);
          const statements = last.map((kind) => statement(transaction, kind));
          return Ending.of(statements, [], () => "made");
        });
        const isGood = last.every((kind) => kind === "good");
        if (isGood) expect(await made).toBe("made");
        else await expect(made).rejects.toThrow();
        expect(await count()).toBe(before + (isGood ? last.length : 0));
      }),
      { numRuns: 60 },
    );
  });

  it("gives the results of the last statements, and not of those before them", async () => {
    const answering = (answer: string) => (transaction: Database) => ({
      send: async () => {
        await transaction.execute(sql`select 1`);
        return answer;
      },
    });
    const result = connection.transaction(async (transaction) =>
      Ending.of([answering("before")(transaction)], [answering("one")(transaction)], ([one]) => one).map(
        (one) => `${one} and more`,
      ),
    );
    expect(await result).toBe("one and more");
  });

  it("rejects with the error of the statement that failed beside the COMMIT, and runs again after a deadlock", async () => {
    const storage = new Storage({ connect: () => connection, timeoutMs: 10_000 });
    const ending = (code: string) => async (transaction: Database) => {
      const failing = { send: async () => void (await transaction.execute(fail(code))) };
      return Ending.of([statement(transaction, "good"), failing, statement(transaction, "good")], [], () => "made");
    };
    await expect(connection.transaction(ending("53100"))).rejects.toMatchObject({
      cause: expect.objectContaining({ code: "53100" }),
    });
    await expect(storage.transaction(ending("53100"))).rejects.toMatchObject({ reason: "STORAGE_UNAVAILABLE" });
    let attempts = 0;
    await storage.transaction((transaction) => {
      attempts += 1;
      return attempts === 1 ? ending("40P01")(transaction) : Promise.resolve("made");
    });
    expect(attempts).toBe(2);
  });

  it("leaves its connection as it found it, whether it was made or not", async () => {
    const before = (await count()) ?? 0;
    await expect(connection.transaction(() => Promise.reject(new Error("changed my mind")))).rejects.toThrow("mind");
    await connection.transaction(async (transaction) => {
      await transaction.execute(sql`insert into counted values (1)`);
    });
    expect(await count()).toBe(before + 1);
  });
}

describeWithPostgres("a transaction on Postgres", () => {
  transactions(async () => {
    const database = await createTestDatabase();
    const connection = connectPostgres({ url: database.url, role: undefined, ...DEFAULT_POLICY.postgres });
    return { connection, remove: () => database.drop() };
  });

  describe("whose statements share round trips", () => {
    let database: TestDatabase;
    let client: pg.Client;

    beforeEach(async () => {
      database = await createTestDatabase();
      client = new pg.Client({ connectionString: database.url, pipeline: true } as pg.ClientConfig);
      await client.connect();
      await client.query("create table counted (n integer)");
    });
    afterEach(async () => {
      await client.end();
      await database.drop();
    });

    const count = async () => (await client.query("select count(*)::int as n from counted")).rows[0].n;
    const insert = "insert into counted values (1)";
    const rethrowTranslated = (error: unknown) => Promise.reject(translateError(error));
    const begin = () => client.query("begin transaction isolation level nonsense");

    it("writes nothing if the BEGIN that was not waited for has failed", async () => {
      const transactions = new TransactionClient(client, { begin, keepsPlans: false });
      const work = async (transaction: Database) => {
        await Promise.all([
          transaction.execute(sql`select 1`),
          transaction.execute(sql.raw(insert)),
          transaction.execute(sql.raw("select count(*) from counted")),
        ]);
      };
      await expect(transactions.run(work).catch(rethrowTranslated)).rejects.toThrow(/syntax error/);
      const alone = async (transaction: Database) =>
        Ending.of([{ send: async () => void (await transaction.execute(sql.raw(insert))) }], [], () => undefined);
      await expect(transactions.run(alone)).rejects.toThrow(/syntax error/);
      expect(await count()).toBe(0);
    });

    it("control: a statement that is sent with that BEGIN is committed by itself", async () => {
      await Promise.allSettled([begin(), client.query(insert)]);
      expect(await count()).toBe(1);
    });

    it("control: a COMMIT that goes out whatever becomes of the statements before it commits a half", async () => {
      const statements = [client.query(insert), Promise.reject(new Error("unsendable"))];
      await Promise.allSettled([client.query("begin"), ...statements, client.query("commit")]);
      expect(await count()).toBe(1);
    });

    it("control: Postgres answers the COMMIT of a broken transaction without an error", async () => {
      const [, , committed] = await Promise.allSettled([
        client.query("begin"),
        client.query("select 1 / 0"),
        client.query("commit"),
      ]);
      expect(committed).toMatchObject({ status: "fulfilled", value: { command: "ROLLBACK" } });
    });
  });
});

describe("a transaction on the embedded Postgres", () => {
  transactions(async () => {
    const folder = await mkdtemp(join(tmpdir(), "claviger-transaction-"));
    await cp(inject("embedded").template, folder, { recursive: true });
    return { connection: await openPglite(folder), remove: () => rm(folder, { recursive: true }) };
  });
});
