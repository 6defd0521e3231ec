import { drizzle } from "drizzle-orm/node-postgres";
import { migrate as migratePostgres } from "drizzle-orm/node-postgres/migrator";
import pg from "pg";
import { describeOutage, translateError } from "./errors.ts";
import { FOLDER, isCurrent } from "./migrations.ts";
import { Route } from "./route.ts";
import { canServeAsRole, grantServiceRole } from "./service-role.ts";
import { checkSession, startupOptions } from "./session.ts";

/** `clav` in ASCII: any number that no other advisory lock of the database uses. */
const LOCK = 0x636c6176;

/** Longest wait for a connection to one host, in milliseconds. */
const CONNECT_MS = 5000;

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
  const client = await connectToPrimary(new Route(options.databaseUrl)).catch((error: unknown) => {
    throw translateError(error);
  });
  const database = drizzle(client);
  try {
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

/** Tries every way once. */
async function connectToPrimary({ ways, address }: Route): Promise<pg.Client> {
  const failures: [name: string, error: unknown][] = [];
  for (const way of ways) {
    const client = new pg.Client({
      ...way.config(),
      options: startupOptions(NO_LIMITS, { fromUrl: address.parameters.get("options") }),
      connectionTimeoutMillis: CONNECT_MS,
    });
    client.on("error", () => undefined);
    try {
      await client.connect();
      await checkSession(client);
      return client;
    } catch (error) {
      failures.push([way.name, error]);
      await client.end();
    }
  }
  const [, last] = failures.at(-1) ?? [];
  if (failures.length === 1 || !(last instanceof Error)) throw last;
  // Each may have failed for a reason of its own; the last says what kind of failure it is.
  const message = failures.map(([name, error]) => `${name}: ${describeOutage(error)}`).join("; ");
  throw Object.assign(last, { message });
}
