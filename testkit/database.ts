import { randomUUID } from "node:crypto";
import postgres from "postgres";
import { inject } from "vitest";

export interface TestDatabase {
  /** The connection string for `DATABASE_URL`. */
  readonly url: string;
  /** Ends all connections and drops the database. Twice is fine. */
  drop(): Promise<void>;
}

/** A database of the caller's own, migrated, cloned from the shared template. Only inside `describeWithPostgres`. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const shared = inject("postgres");
  if (!shared) throw new Error("there is no Postgres here; put this suite into describeWithPostgres");
  const database = await createDatabase(shared);
  // A clone has the cluster id of its template: nodes of several clusters would hear each other on a shared Redis.
  await administer(database.url, (sql) => sql`update revision set cluster_id = ${randomUUID()}`);
  return database;
}

/** A new database on the server at `adminUrl`, as a clone of `template` (default: an empty one). */
export async function createDatabase(options: { adminUrl: string; template?: string }): Promise<TestDatabase> {
  const { adminUrl, template = "template1" } = options;
  const name = `claviger_test_${randomUUID().replaceAll("-", "")}`;
  await administer(adminUrl, (sql) => sql`create database ${sql(name)} template ${sql(template)}`);
  const url = new URL(adminUrl);
  url.pathname = `/${name}`;
  return {
    url: url.href,
    drop: async () => {
      await administer(adminUrl, (sql) => sql`drop database if exists ${sql(name)} with (force)`);
    },
  };
}

async function administer(url: string, run: (sql: postgres.Sql) => Promise<unknown>): Promise<void> {
  const sql = postgres(url, { max: 1, onnotice: () => undefined });
  try {
    await run(sql);
  } finally {
    await sql.end({ timeout: 1 });
  }
}
