import { drizzle } from "drizzle-orm/postgres-js";
import postgres from "postgres";
import type { Connection } from "./storage.ts";

export interface PostgresOptions {
  /** `postgres://user:password@host:port/database`. */
  readonly url: string;
  /** Connections at most. */
  readonly poolSize: number;
  /** Longest statement, in milliseconds; ended by Postgres. */
  readonly statementTimeoutMs: number;
  /** Longest wait for a lock, in milliseconds. */
  readonly lockTimeoutMs: number;
  /** How long a transaction may do nothing, in milliseconds: a frozen process must not hold its locks. */
  readonly idleInTransactionTimeoutMs: number;
}

/** A pool of connections to Postgres; connects at the first query, and again after a loss. */
export function connectPostgres(options: PostgresOptions): Connection {
  const client = postgres(options.url, {
    max: options.poolSize,
    connect_timeout: 3,
    // Try again at once when asked again: callers are told to retry, and the pool bounds how often.
    backoff: false,
    onnotice: () => undefined,
    connection: {
      application_name: "claviger",
      statement_timeout: options.statementTimeoutMs,
      lock_timeout: options.lockTimeoutMs,
      idle_in_transaction_session_timeout: options.idleInTransactionTimeoutMs,
    },
  });
  return { database: drizzle(client), close: () => client.end({ timeout: 1 }) };
}
