import type { Socket } from "node:net";
import { sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import type pg from "pg";
import { isAway } from "./errors.ts";
import { PrimaryPool } from "./primary-pool.ts";
import { databaseIdentity } from "./revisions.ts";
import { Route } from "./route.ts";
import { checkSession, type SessionLimits, startupOptions } from "./session.ts";
import type { Connection } from "./storage.ts";

export interface PostgresOptions extends SessionLimits {
  /** As `parseAddress` reads it; of several hosts, the primary is used. */
  readonly url: string;
  /** Connections at most, and one more that only asks whether the database answers. */
  readonly poolSize: number;
  /**
   * Whether a transaction pooler may be in between. Then nothing is set for the session, which the next transaction may
   * not have, so that it is for what does not depend on it: `createFindByDigests`. Its only time limit is this client's.
   */
  readonly isPooled?: boolean;
  /**
   * Whether it has Postgres keep statements and their plans. Then no plan reads a table from end to end if an index will
   * do: one that was made while a table was small is kept while it grows, until Postgres' statistics say so.
   */
  readonly keepsPlans?: boolean;
  /** The role that every connection takes; undefined to stay what it connected as. */
  readonly role: string | undefined;
  /** Longest wait for a connection, new or from the pool, in milliseconds. */
  readonly storageTimeoutMs: number;
  /** Why a new connection to the database of that identity is not to be used; undefined if it is (rule R19). */
  readonly refusalOf?: (identity: string) => string | undefined;
  /** Remembers which host worked last, also for the next pool. Default: a new one of `url`. */
  readonly route?: Route;
  /** 0 to 1, evenly: spreads the attempts of many nodes to connect. Default: always 1. */
  readonly jitter?: () => number;
}

/** SQLSTATE: nobody knows whether the transaction was committed; the connection could not be made. */
const COMMIT_UNKNOWN = "08007";
const NOT_CONNECTED = "08001";

/** How long closing waits for what is under way. */
const CLOSE_MS = 1000;

/**
 * A pool of connections to Postgres; connects at the first query, and again after a loss.
 *
 * On node-postgres, not on postgres.js: 3.4.9 of that ends the process when the database dies at the wrong moment
 * (porsager/postgres 1208; killing Postgres under load met it within 3 kills).
 */
export function connectPostgres(options: PostgresOptions): Connection {
  const sockets = new Set<Socket>();
  const { storageTimeoutMs, route = new Route(options.url), jitter = () => 1 } = options;
  const config = {
    ...sessionConfig(options, route),
    ...{ route, sockets, jitter },
    connectionTimeoutMillis: storageTimeoutMs,
    // A connection that is dead and does not say so would keep its place in the pool for ever.
    query_timeout: storageTimeoutMs,
    keepAlive: true,
    // What a transaction asks together goes in one round trip.
    pipeline: true,
    check: (client: pg.ClientBase) => checkConnection(client, options),
  };
  const pool = new PrimaryPool({ ...config, max: options.poolSize });
  // Of its own: all others may be waiting for a lock, and that is no reason to cut them off.
  const probing = new PrimaryPool({ ...config, max: 1 });
  const warned = new WeakSet<pg.ClientBase>();
  const cutOff = () => {
    for (const socket of sockets) socket.destroy();
  };
  pool.on("connect", (client) => {
    client.on("notice", ({ severity }) => void (severity === "WARNING" && warned.add(client)));
  });
  async function confirmed<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    const client = await pool.connect();
    let lost = false;
    try {
      warned.delete(client);
      const result = await work(client);
      // A wait for the standby that was cancelled commits, "successfully", with a warning: whether it lasts is unknown.
      if (warned.has(client)) throw Object.assign(new Error("Postgres warned at the commit"), { code: COMMIT_UNKNOWN });
      return result;
    } catch (error) {
      lost = isAway(error);
      throw error;
    } finally {
      client.release(lost);
    }
  }
  return {
    database: drizzle(pool),
    // Not Drizzle's own: on a pool, that keeps the client for ever when `begin` fails.
    transaction: (work) => confirmed((client) => inTransaction(client, () => work(drizzle(client)))),
    write: (work) => confirmed((client) => work(drizzle(client))),
    probe: () => probing.query("select 1"),
    async close() {
      const patience = setTimeout(cutOff, CLOSE_MS);
      await Promise.all([pool.end(), probing.end()]);
      clearTimeout(patience);
    },
    abandon() {
      for (const each of [pool, probing]) each.end().catch(() => undefined);
      cutOff();
    },
  };
}

/** A statement that failed and that nobody heard, asked together with others, makes Postgres answer COMMIT with ROLLBACK. */
async function inTransaction<T>(client: pg.PoolClient, work: () => Promise<T>): Promise<T> {
  await client.query("begin");
  try {
    const result = await work();
    const { command } = await client.query("commit");
    if (command !== "COMMIT") throw new Error("a statement failed, and nobody heard: the transaction was undone");
    return result;
  } catch (error) {
    await client.query("rollback");
    throw error;
  }
}

function sessionConfig(options: PostgresOptions, { address }: Route): pg.PoolConfig {
  const fromUrl = address.parameters.get("options");
  return options.isPooled ? {} : { options: startupOptions(options, { ...options, fromUrl }) };
}

/** In one round trip. */
async function checkConnection(client: pg.ClientBase, { refusalOf, isPooled }: PostgresOptions): Promise<void> {
  await Promise.all([checkSession(client, { isPooled }), checkIdentity(client, refusalOf)]);
}

async function checkIdentity(client: pg.ClientBase, refusalOf: PostgresOptions["refusalOf"]): Promise<void> {
  if (refusalOf === undefined) return;
  const [row] = await drizzle(client as pg.Client)
    .select({ identity: databaseIdentity })
    .from(sql`(select 1) as one`);
  const refusal = row === undefined ? "the database does not say which one it is" : refusalOf(row.identity);
  if (refusal !== undefined) throw Object.assign(new Error(refusal), { code: NOT_CONNECTED });
}
