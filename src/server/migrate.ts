import { migrationCount } from "../postgres/migrations.ts";
import type { ServerConfig } from "./config.ts";
import { openStorage } from "./open-storage.ts";

/** Brings the schema up to date without serving; returns how many migrations it then has. */
export async function migrateDatabase(config: ServerConfig): Promise<{ readonly applied: number }> {
  const opened = await openStorage(config);
  await opened.close();
  return { applied: migrationCount() };
}
