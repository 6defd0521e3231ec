import { fileURLToPath } from "node:url";
import { readMigrationFiles } from "drizzle-orm/migrator";
import { drizzle } from "drizzle-orm/node-postgres";
import { migrate as migratePostgres } from "drizzle-orm/node-postgres/migrator";
import type { PgliteDatabase } from "drizzle-orm/pglite";
import { migrate as migratePglite } from "drizzle-orm/pglite/migrator";
import pg from "pg";
import { translateError } from "./errors.ts";
import type { Database } from "./storage.ts";

const FOLDER = { migrationsFolder: fileURLToPath(new URL("../../migrations", import.meta.url)) };

/** `claviger` in ASCII, cut to what an advisory lock's key holds. */
const LOCK = 0x636c6176;

/**
 * Brings the schema up to date. Any number of processes may call it at once: Drizzle's own migrator fails then (3 of 4
 * processes), so one at a time runs it, under an advisory lock on a connection of its own.
 */
export async function migrate(options: { readonly databaseUrl: string }): Promise<void> {
  const client = new pg.Client({ connectionString: options.databaseUrl, connectionTimeoutMillis: 5000 });
  client.on("error", () => undefined);
  try {
    await client.connect();
    await client.query("select pg_advisory_lock($1)", [LOCK]);
    await migratePostgres(drizzle(client), FOLDER);
  } catch (error) {
    throw translateError(error);
  } finally {
    await client.end();
  }
}

/** The same for the embedded Postgres, whose folder one process holds. */
export async function migrateEmbedded(database: Database): Promise<void> {
  await migratePglite(database as PgliteDatabase, FOLDER);
}

/** How many migrations this version of Claviger knows. */
export function migrationCount(): number {
  return readMigrationFiles(FOLDER).length;
}
