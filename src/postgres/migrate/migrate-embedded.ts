import type { Database } from "../storage.ts";
import { applyMigrations, isCurrent } from "./migrations.ts";
import { grantServiceRole } from "./service-role.ts";

/** Brings the schema of the embedded Postgres up to date, whose folder one process holds. */
export async function migrateEmbedded(database: Database): Promise<void> {
  if (await isCurrent(database)) return;
  await database.transaction(applyMigrations);
  await grantServiceRole(database);
}
