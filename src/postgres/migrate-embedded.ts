import type { PgliteDatabase } from "drizzle-orm/pglite";
import { migrate } from "drizzle-orm/pglite/migrator";
import { FOLDER, isCurrent } from "./migrations.ts";
import { grantServiceRole } from "./service-role.ts";
import type { Database } from "./storage.ts";

/** Brings the schema of the embedded Postgres up to date, whose folder one process holds. */
export async function migrateEmbedded(database: Database): Promise<void> {
  if (await isCurrent(database)) return;
  await migrate(database as PgliteDatabase, FOLDER);
  await grantServiceRole(database);
}
