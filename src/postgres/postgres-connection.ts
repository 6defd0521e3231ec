import { Socket } from "node:net";
import { drizzle } from "drizzle-orm/node-postgres";
import pg from "pg";
import { isAway } from "./errors.ts";
import type { Connection } from "./storage.ts";

export interface PostgresOptions {
  /** `postgres://user:password@host:port/database`. */
  readonly url: string;
  /** Connections at most. */
  readonly poolSize: number;
  /** The role that every connection takes; undefined to stay what it connected as. */
  readonly role: string | undefined;
  /** Longest wait for a connection, new or from the pool, in milliseconds. */
  readonly storageTimeoutMs: number;
  /** Longest statement, in milliseconds; ended by Postgres. */
  readonly statementTimeoutMs: number;
  /** Longest wait for a lock, in milliseconds. */
  readonly lockTimeoutMs: number;
  /** How long a transaction may do nothing, in milliseconds: a frozen process must not hold its locks. */
  readonly idleInTransactionTimeoutMs: number;
}

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
  const pool = new pg.Pool({
    connectionString: options.url,
    application_name: "claviger",
    max: options.poolSize,
    ...(options.role === undefined ? {} : { options: `-c role=${options.role}` }),
    connectionTimeoutMillis: options.storageTimeoutMs,
    statement_timeout: options.statementTimeoutMs,
    lock_timeout: options.lockTimeoutMs,
    idle_in_transaction_session_timeout: options.idleInTransactionTimeoutMs,
    keepAlive: true,
    stream: () => tracked(new Socket(), sockets),
  });
  const cutOff = () => {
    for (const socket of sockets) socket.destroy();
  };
  // A connection that is lost says so here too, beside failing its query: an event that nobody hears ends the process.
  pool.on("error", () => undefined);
  pool.on("connect", (client) => client.on("error", () => undefined));
  return {
    database: drizzle(pool),
    // Not Drizzle's own on a pool: that keeps the client for ever when `begin` fails.
    async transaction(work) {
      const client = await pool.connect();
      let lost = false;
      try {
        return await drizzle(client).transaction(work);
      } catch (error) {
        lost = isAway(error);
        throw error;
      } finally {
        client.release(lost);
      }
    },
    async close() {
      const patience = setTimeout(cutOff, CLOSE_MS);
      await pool.end();
      clearTimeout(patience);
    },
    abandon() {
      pool.end().catch(() => undefined);
      cutOff();
    },
  };
}

function tracked(socket: Socket, sockets: Set<Socket>): Socket {
  sockets.add(socket);
  return socket.once("close", () => sockets.delete(socket));
}
