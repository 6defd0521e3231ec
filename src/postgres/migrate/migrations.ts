import { fileURLToPath } from "node:url";
import { sql } from "drizzle-orm";
import { readMigrationFiles } from "drizzle-orm/migrator";
import type { Database } from "../storage.ts";

/** Where the migrations are, as Drizzle's migrators want it. */
export const FOLDER = { migrationsFolder: fileURLToPath(new URL("../../../migrations", import.meta.url)) };

/** How many migrations this version of Claviger knows. */
export function migrationCount(): number {
  return readMigrationFiles(FOLDER).length;
}

/** Whether the schema has them all. */
export async function isCurrent(database: Database): Promise<boolean> {
  const table = sql`to_regclass('drizzle.__drizzle_migrations')`;
  const [known] = await database.select({ exists: sql<boolean>`t is not null` }).from(sql`${table} as t`);
  if (known?.exists !== true) return false;
  const newest = Math.max(0, ...readMigrationFiles(FOLDER).map((migration) => migration.folderMillis));
  return (await newestMigration(database)) >= newest;
}

/** Makes what is missing; for a transaction that no other process makes at the same time. */
export async function applyMigrations(transaction: Database): Promise<void> {
  await transaction.execute(sql`create schema if not exists drizzle`);
  await transaction.execute(
    sql`create table if not exists drizzle.__drizzle_migrations (id serial primary key, hash text not null, created_at bigint)`,
  );
  const newest = await newestMigration(transaction);
  for (const { sql: statements, hash, folderMillis } of readMigrationFiles(FOLDER)) {
    if (folderMillis <= newest) continue;
    for (const statement of statements) await transaction.execute(sql.raw(statement));
    await transaction.execute(
      sql`insert into drizzle.__drizzle_migrations (hash, created_at) values (${hash}, ${folderMillis})`,
    );
  }
}

/** When the newest migration that the schema has was written, in milliseconds since the epoch; 0 before any. */
async function newestMigration(database: Database): Promise<number> {
  const [row] = await database
    .select({ time: sql<string | null>`max(created_at)::text` })
    .from(sql`drizzle.__drizzle_migrations`);
  return Number(row?.time ?? 0);
}
