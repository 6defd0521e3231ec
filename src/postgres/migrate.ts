import { fileURLToPath } from "node:url";
import { readMigrationFiles } from "drizzle-orm/migrator";
import type { PgliteDatabase } from "drizzle-orm/pglite";
import { migrate as migratePglite } from "drizzle-orm/pglite/migrator";
import { drizzle } from "drizzle-orm/postgres-js";
import { migrate as migratePostgres } from "drizzle-orm/postgres-js/migrator";
import postgres from "postgres";
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
  const client = postgres(options.databaseUrl, { max: 1, connect_timeout: 5, onnotice: () => undefined });
  try {
    await client`select pg_advisory_lock(${LOCK})`;
    await migratePostgres(drizzle(client), FOLDER);
  } catch (error) {
    throw translateError(error);
  } finally {
    await client.end({ timeout: 1 });
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
