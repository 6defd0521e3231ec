import { drizzle } from "drizzle-orm/node-postgres";
import { migrate as migratePostgres } from "drizzle-orm/node-postgres/migrator";
import pg from "pg";
import { translateError } from "./errors.ts";
import { FOLDER, isCurrent } from "./migrations.ts";
import { canServeAsRole, grantServiceRole } from "./service-role.ts";
import { checkSession, splitUrl, startupOptions } from "./session.ts";

/** `clav` in ASCII: any number that no other advisory lock of the database uses. */
const LOCK = 0x636c6176;

/** A migration takes as long as it takes. */
const NO_LIMITS = { statementTimeoutMs: 0, lockTimeoutMs: 0, idleInTransactionTimeoutMs: 0 };

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
  const { url, options: fromUrl } = splitUrl(options.databaseUrl);
  const client = new pg.Client({
    connectionString: url,
    options: startupOptions(NO_LIMITS, { fromUrl }),
    connectionTimeoutMillis: 5000,
  });
  client.on("error", () => undefined);
  const database = drizzle(client);
  try {
    await client.connect();
    await checkSession(client);
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
