import { migrationCount } from "../postgres/migrate/migrations.ts";
import type { ServerConfig } from "./config/config.ts";
import { createLogger } from "./observe/logger.ts";
import { openStorage } from "./open/open-storage.ts";
import { directAddress, unreachable } from "./open/reach-postgres.ts";

/**
 * Brings the schema up to date without serving; returns how many migrations it then has. Needs no root secrets with
 * Postgres: no secret of a key is read.
 *
 * @throws StartupError that says what to do
 */
export async function migrateDatabase(config: ServerConfig): Promise<{ readonly applied: number }> {
  const { storage, leaseDatabaseUrl } = config;
  if (storage.kind === "embedded") {
    const opened = await openStorage(config);
    await opened.close();
    return { applied: migrationCount() };
  }
  const { migrate } = await import("../postgres/migrate/migrate.ts");
  const direct = directAddress(storage.url, leaseDatabaseUrl);
  const log = createLogger(config.logLevel, config.logFormat);
  const onWait = (problem: string) => log.warn({ event: "migration" }, problem);
  await migrate({ databaseUrl: direct.url.reveal(), onWait }).catch((error: unknown) => {
    throw unreachable(direct, error);
  });
  return { applied: migrationCount() };
}
