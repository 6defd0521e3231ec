import { drizzle } from "drizzle-orm/node-postgres";
import pg from "pg";
import type { PostgresAddress } from "../connect/address.ts";
import { Route, type Way } from "../connect/route.ts";
import { beginWithSettings, checkSession, hasStartupOptions, startupOptions } from "../connect/session.ts";
import { describeOutage, hasCode, refusesOptions, translateError } from "../errors.ts";
import { applyMigrations, isCurrent } from "./migrations.ts";
import { canServeAsRole, grantServiceRole } from "./service-role.ts";

/** `clav` in ASCII: any number that no other advisory lock of the database uses. */
const LOCK = 0x636c6176;
/** A wait for the lock that is worth a line of the log. */
const LONG_WAIT_MS = 3000;

/** Longest wait for a connection to one host, in milliseconds. */
const CONNECT_MS = 5000;

/** A migration takes as long as it takes. */
const NO_LIMITS = { statementTimeoutMs: 0, lockTimeoutMs: 0, idleInTransactionTimeoutMs: 0 };

/** SQLSTATE lock_not_available. */
const NOT_IN_TIME = "55P03";

export interface MigrateOptions {
  readonly databaseUrl: string;
  /** Called once, after 3 seconds, with the reason that the migration waits for; the line is complete. */
  readonly onWait?: (problem: string) => void;
}

/** The result of a migration. */
export interface Migrated {
  /** Whether connections can take the service role. */
  readonly canServeAsRole: boolean;
  /** Whether a connection pooler is in between, which refuses or ignores start-up options. */
  readonly isPooled: boolean;
}

/**
 * Brings the schema up to date, in one transaction. Any number of processes may call it at once: Drizzle's own migrator
 * fails then (3 of 4 processes), so one at a time migrates, under an advisory lock. The lock is the transaction's: one
 * of the session would stay behind in a transaction pooler, with no process left to release it. A schema that is
 * current is left alone, without the lock, so that a role that may not change it can serve.
 */
export async function migrate({ databaseUrl, onWait = () => undefined }: MigrateOptions): Promise<Migrated> {
  try {
    const { client, isPooled } = await beginOnPrimary(new Route(databaseUrl));
    try {
      const database = drizzle(client);
      if (!(await isCurrent(database))) {
        await takeLock(client, onWait);
        if (!(await isCurrent(database))) {
          await applyMigrations(database);
          await grantServiceRole(database);
        }
      }
      const canServe = await canServeAsRole(database);
      await client.query("commit");
      return { canServeAsRole: canServe, isPooled };
    } finally {
      await client.end();
    }
  } catch (error) {
    throw translateError(error);
  }
}

interface Connected {
  readonly client: pg.Client;
  readonly isPooled: boolean;
}

/** Begins a transaction on the primary; tries every way to it once. */
async function beginOnPrimary({ ways, address }: Route): Promise<Connected> {
  const failures: [name: string, error: unknown][] = [];
  for (const way of ways) {
    try {
      return await begin(await connect(way, address));
    } catch (error) {
      failures.push([way.name, error]);
    }
  }
  const [, last] = failures.at(-1) ?? [];
  if (failures.length === 1 || !(last instanceof Error)) throw last;
  // Each may have failed for a reason of its own; the last says what kind of failure it is.
  const message = failures.map(([name, error]) => `${name}: ${describeOutage(error)}`).join("; ");
  throw Object.assign(last, { message });
}

async function begin({ client, isPooled }: Connected): Promise<Connected> {
  try {
    await client.query(isPooled ? beginWithSettings(NO_LIMITS) : "begin");
    await checkSession(client);
    return { client, isPooled };
  } catch (error) {
    await client.end();
    throw error;
  }
}

/** With start-up options, or without them where something in between takes none. */
async function connect(way: Way, { parameters }: PostgresAddress): Promise<Connected> {
  const open = async (options: string): Promise<Connected> => {
    const client = new pg.Client({ ...way.config(), connectionTimeoutMillis: CONNECT_MS, options });
    client.on("error", () => undefined);
    try {
      await client.connect();
      return { client, isPooled: options === "" || !(await hasStartupOptions(client)) };
    } catch (error) {
      await client.end();
      throw error;
    }
  };
  try {
    return await open(startupOptions(NO_LIMITS, { fromUrl: parameters.get("options") }));
  } catch (error) {
    if (!refusesOptions(error)) throw error;
    return open("");
  }
}

/** Waits for as long as another process holds the lock. */
async function takeLock(client: pg.Client, onWait: (problem: string) => void): Promise<void> {
  const lock = () => client.query("select pg_advisory_xact_lock($1)", [LOCK]);
  try {
    await client.query(`savepoint waiting; set local lock_timeout = ${LONG_WAIT_MS}`);
    await lock();
    await client.query("set local lock_timeout = 0");
  } catch (error) {
    if (!hasCode(error, NOT_IN_TIME)) throw error;
    await client.query("rollback to savepoint waiting");
    onWait(await describeHolder(client));
    await lock();
  }
}

async function describeHolder(client: pg.Client): Promise<string> {
  const { rows } = await client.query(
    `select pid, application_name as name, state from pg_locks join pg_stat_activity using (pid)
    where locktype = 'advisory' and granted and (classid, objid, objsubid) = (0, $1, 1)
      and database = (select oid from pg_database where datname = current_database())`,
    [LOCK],
  );
  const [holder] = rows;
  const who = holder ? `process ${holder.pid} of Postgres (${holder.name || "no name"}, ${holder.state})` : "a process";
  const advice = holder ? `; if it is not migrating, end it with \`select pg_terminate_backend(${holder.pid})\`` : "";
  return `the migration waits for ${who}, which holds the advisory lock ${LOCK}${advice}`;
}
