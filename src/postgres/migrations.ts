import { fileURLToPath } from "node:url";
import { sql } from "drizzle-orm";
import { readMigrationFiles } from "drizzle-orm/migrator";
import type { Database } from "./storage.ts";

/** Where the migrations are, as Drizzle's migrators want it. */
export const FOLDER = { migrationsFolder: fileURLToPath(new URL("../../migrations", import.meta.url)) };

/** How many migrations this version of Claviger knows. */
export function migrationCount(): number {
  return readMigrationFiles(FOLDER).length;
}

/** Whether the schema has them all. */
export async function isCurrent(database: Database): Promise<boolean> {
  const table = sql`to_regclass('drizzle.__drizzle_migrations')`;
  const [known] = await database.select({ exists: sql<boolean>`t is not null` }).from(sql`${table} as t`);
  if (known?.exists !== true) return false;
  const done = await database.select({ time: sql<string>`created_at::text` }).from(sql`drizzle.__drizzle_migrations`);
  const newest = Math.max(0, ...readMigrationFiles(FOLDER).map((migration) => migration.folderMillis));
  return done.some(({ time }) => Number(time) >= newest);
}
