import type { Socket } from "node:net";
import { sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import type pg from "pg";
import { isAway } from "../errors.ts";
import { databaseIdentity } from "../revisions.ts";
import type { Connection, Database } from "../storage.ts";
import { PrimaryPool } from "./primary-pool.ts";
import { Route } from "./route.ts";
import { BEGIN_FOR_PLANS, beginWithSettings, checkSession, type SessionLimits, startupOptions } from "./session.ts";
import { TransactionClient } from "./transaction-client.ts";

export interface PostgresOptions extends SessionLimits {
  /** As `parseAddress` reads it; of several hosts, the primary is used. */
  readonly url: string;
  /** Connections at most, and one more that only asks whether the database answers. */
  readonly poolSize: number;
  /**
   * The scope of the settings in session.ts. `session`, the default, is for a direct connection: they are start-up
   * options. `transaction` is for a connection pooler, which may give the session to another client a moment later:
   * each transaction sets them again, and checks that the database is the expected one. `none` is for statements that
   * need no settings (`findByDigests`), past a pooler in one round trip; their only time limit is this client's.
   */
  readonly settings?: "session" | "transaction" | "none";
  /**
   * Whether it has Postgres keep the statements of `read` and their plans. Then no plan reads a table from end to end if
   * an index will do: one that was made while a table was small is kept while it grows, until Postgres' statistics say
   * so. Transactions keep theirs whenever the connection is direct.
   */
  readonly keepsPlans?: boolean;
  /** The role that every connection takes; undefined to stay what it connected as. */
  readonly role: string | undefined;
  /** Longest wait for a connection, new or from the pool, in milliseconds. */
  readonly storageTimeoutMs: number;
  /**
   * Why a new connection to the database of that identity is not to be used (docs/protocol/revocation.md#r19);
   * undefined if it is.
   */
  readonly refusalOf?: (identity: string) => string | undefined;
  /** Remembers which host worked last, also for the next pool. Default: a new one of `url`. */
  readonly route?: Route;
  /** 0 to 1, evenly: spreads the attempts of many nodes to connect. Default: always 1. */
  readonly jitter?: () => number;
}

/** SQLSTATE: it is unknown whether the transaction was committed; the connection could not be made. */
const COMMIT_UNKNOWN = "08007";
const NOT_CONNECTED = "08001";

/** How long closing waits for work in progress. */
const CLOSE_MS = 1000;

/**
 * A pool of connections to Postgres. It connects at the first query, and again after a loss.
 * Why node-postgres: docs/decisions/0001-node-postgres.md.
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
    // Statements that a transaction sends together go in one round trip.
    pipeline: true,
    check: (client: pg.ClientBase) => checkConnection(client, options),
  };
  const pool = new PrimaryPool({ ...config, max: options.poolSize });
  // A pool of its own: all other connections may wait for a lock, and waiting is not a reason to cut them off.
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
  const transactionClients = new WeakMap<pg.ClientBase, TransactionClient>();
  const transactionClientOf = (client: pg.ClientBase) => {
    const known = transactionClients.get(client) ?? createTransactionClient(client, options);
    transactionClients.set(client, known);
    return known;
  };
  const transaction: Connection["transaction"] = (work) => confirmed((client) => transactionClientOf(client).run(work));
  const isDirect = options.settings !== "transaction";
  const kept = { known: new Map(), areNamed: options.keepsPlans === true };
  const reading: Database = Object.assign(drizzle(pool), { kept });
  return {
    read: (work) => (isDirect ? work(reading) : transaction(work)),
    // Not Drizzle's own: on a pool, that keeps the client for ever when `begin` fails.
    transaction,
    write: (work) => (isDirect ? confirmed((client) => work(drizzle(client))) : transaction(work)),
    probe: () => probing.query("select 1"),
    load: () => ({ busy: pool.totalCount - pool.idleCount, idle: pool.idleCount, waiting: pool.waitingCount }),
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

function createTransactionClient(client: pg.ClientBase, options: PostgresOptions): TransactionClient {
  if (options.settings !== "transaction") {
    return new TransactionClient(client, { begin: () => client.query(BEGIN_FOR_PLANS), keepsPlans: true });
  }
  const begin = () => Promise.all([client.query(beginWithSettings(options)), checkIdentity(client, options.refusalOf)]);
  return new TransactionClient(client, { begin, keepsPlans: false });
}

function sessionConfig(options: PostgresOptions, { address }: Route): pg.PoolConfig {
  if (options.settings === "transaction") return { options: "" };
  if (options.settings === "none") return {};
  return { options: startupOptions(options, { fromUrl: address.parameters.get("options") }) };
}

async function checkConnection(client: pg.ClientBase, options: PostgresOptions): Promise<void> {
  if (options.settings === "transaction") {
    return createTransactionClient(client, options).run(() => checkSession(client));
  }
  // In one round trip.
  await Promise.all([
    checkSession(client, { hasSettings: options.settings !== "none" }),
    checkIdentity(client, options.refusalOf),
  ]);
}

async function checkIdentity(client: pg.ClientBase, refusalOf: PostgresOptions["refusalOf"]): Promise<void> {
  if (refusalOf === undefined) return;
  const [row] = await drizzle(client as pg.Client)
    .select({ identity: databaseIdentity })
    .from(sql`(select 1) as one`);
  const refusal = row === undefined ? "the database does not say which one it is" : refusalOf(row.identity);
  if (refusal !== undefined) throw Object.assign(new Error(refusal), { code: NOT_CONNECTED });
}
