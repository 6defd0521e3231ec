import { fileURLToPath } from "node:url";
import { sql } from "drizzle-orm";
import { readMigrationFiles } from "drizzle-orm/migrator";
import { drizzle } from "drizzle-orm/node-postgres";
import { migrate as migratePostgres } from "drizzle-orm/node-postgres/migrator";
import type { PgliteDatabase } from "drizzle-orm/pglite";
import { migrate as migratePglite } from "drizzle-orm/pglite/migrator";
import pg from "pg";
import { translateError } from "./errors.ts";
import { canServeAsRole, grantServiceRole } from "./service-role.ts";
import type { Database } from "./storage.ts";

const FOLDER = { migrationsFolder: fileURLToPath(new URL("../../migrations", import.meta.url)) };

/** `clav` in ASCII: any number that no other advisory lock of the database uses. */
const LOCK = 0x636c6176;

/** What came of it. */
export interface Migrated {
  /** Whether connections can take the service role. */
  readonly canServeAsRole: boolean;
}

/**
 * Brings the schema up to date. Any number of processes may call it at once: Drizzle's own migrator fails then (3 of 4
 * processes), so one at a time runs it, under an advisory lock on a connection of its own. A schema that is current is
 * left alone, so that whoever may not change it can serve.
 */
export async function migrate(options: { readonly databaseUrl: string }): Promise<Migrated> {
  const client = new pg.Client({ connectionString: options.databaseUrl, connectionTimeoutMillis: 5000 });
  client.on("error", () => undefined);
  const database = drizzle(client);
  try {
    await client.connect();
    await client.query("select pg_advisory_lock($1)", [LOCK]);
    if (!(await isCurrent(database))) {
      await migratePostgres(database, FOLDER);
      await grantServiceRole(database);
    }
    return { canServeAsRole: await canServeAsRole(database) };
  } catch (error) {
    throw translateError(error);
  } finally {
    await client.end();
  }
}

/** The same for the embedded Postgres, whose folder one process holds. */
export async function migrateEmbedded(database: Database): Promise<void> {
  if (await isCurrent(database)) return;
  await migratePglite(database as PgliteDatabase, FOLDER);
  await grantServiceRole(database);
}

/** How many migrations this version of Claviger knows. */
export function migrationCount(): number {
  return readMigrationFiles(FOLDER).length;
}

async function isCurrent(database: Database): Promise<boolean> {
  const table = sql`to_regclass('drizzle.__drizzle_migrations')`;
  const [known] = await database.select({ exists: sql<boolean>`t is not null` }).from(sql`${table} as t`);
  if (known?.exists !== true) return false;
  const done = await database.select({ time: sql<string>`created_at::text` }).from(sql`drizzle.__drizzle_migrations`);
  const newest = Math.max(0, ...readMigrationFiles(FOLDER).map((migration) => migration.folderMillis));
  return done.some(({ time }) => Number(time) >= newest);
}
