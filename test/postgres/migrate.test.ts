import { fileURLToPath } from "node:url";
import { drizzle } from "drizzle-orm/postgres-js";
import { migrate as migrateUnlocked } from "drizzle-orm/postgres-js/migrator";
import postgres from "postgres";
import { afterEach, expect, inject, it } from "vitest";
import { migrate } from "../../src/postgres/migrate/migrate.ts";
import { migrationCount } from "../../src/postgres/migrate/migrations.ts";
import { createDatabase, type TestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";

const PROCESSES = 4;
const migrationsFolder = fileURLToPath(new URL("../../migrations", import.meta.url));

describeWithPostgres("Migration of an empty database", () => {
  const databases: TestDatabase[] = [];
  afterEach(async () => {
    for (const database of databases.splice(0)) await database.drop();
  });

  async function emptyDatabase(): Promise<string> {
    const shared = inject("postgres");
    if (shared === undefined) throw new Error("no Postgres");
    const database = await createDatabase({ adminUrl: shared.adminUrl });
    databases.push(database);
    return database.url;
  }

  const atOnce = (work: () => Promise<unknown>) => Promise.allSettled(Array.from({ length: PROCESSES }, () => work()));

  async function query<T>(url: string, work: (sql: postgres.Sql) => Promise<T>): Promise<T> {
    const sql = postgres(url, { max: 1, onnotice: () => undefined });
    try {
      return await work(sql);
    } finally {
      await sql.end();
    }
  }

  it("works when four do it at once, each step once", async () => {
    const url = await emptyDatabase();
    const outcomes = await atOnce(() => migrate({ databaseUrl: url }));
    expect(outcomes.map(({ status }) => status)).toEqual(Array.from({ length: PROCESSES }, () => "fulfilled"));
    await query(url, async (sql) => {
      expect(await sql`select count(*)::int as steps from drizzle.__drizzle_migrations`).toMatchObject([
        { steps: migrationCount() },
      ]);
      expect(await sql`select * from revision`).toMatchObject([{ id: 1, rev: "0" }]);
    });
  });

  it("fails for some of the four without the lock (the control)", async () => {
    const rejected: unknown[] = [];
    // Which of them collide is a matter of chance; that none do, five times over, is not to be expected.
    for (let round = 0; round < 5 && rejected.length === 0; round++) {
      const url = await emptyDatabase();
      const outcomes = await atOnce(() =>
        query(url, (sql) => migrateUnlocked(drizzle(sql), { migrationsFolder }).then(() => undefined)),
      );
      rejected.push(...outcomes.filter(({ status }) => status === "rejected"));
    }
    expect(rejected.length).toBeGreaterThan(0);
  });

  it("again changes nothing, and keeps what is stored", async () => {
    const url = await emptyDatabase();
    await migrate({ databaseUrl: url });
    await query(url, (sql) => sql`insert into key_owner values ('kept', now())`);
    await migrate({ databaseUrl: url });
    expect(await query(url, (sql) => sql`select id from key_owner`)).toMatchObject([{ id: "kept" }]);
  });

  it("holds no lock and no connection afterwards", async () => {
    const url = await emptyDatabase();
    await migrate({ databaseUrl: url });
    const left = await query(
      url,
      (sql) => sql`
        select (select count(*)::int from pg_locks where locktype = 'advisory' and database = d.oid) as locks,
          (select count(*)::int from pg_stat_activity where datid = d.oid and pid <> pg_backend_pid()) as sessions
        from pg_database d where datname = current_database()`,
    );
    expect(left).toMatchObject([{ locks: 0, sessions: 0 }]);
  });
});
