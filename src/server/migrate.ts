import { migrationCount } from "../postgres/migrations.ts";
import type { ServerConfig } from "./config.ts";
import { createLogger } from "./logger.ts";
import { openStorage, unreachable } from "./open-storage.ts";

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
  const { migrate } = await import("../postgres/migrate.ts");
  const direct = leaseDatabaseUrl
    ? ({ setting: "CLAVIGER_LEASE_DATABASE_URL", url: leaseDatabaseUrl } as const)
    : ({ setting: "DATABASE_URL", url: storage.url } as const);
  const log = createLogger(config.logLevel, config.logFormat);
  const onWait = (problem: string) => log.warn({ event: "migration" }, problem);
  await migrate({ databaseUrl: direct.url.reveal(), onWait }).catch((error: unknown) => {
    throw unreachable(direct, error);
  });
  return { applied: migrationCount() };
}
