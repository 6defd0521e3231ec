import type { PgDatabase, PgQueryResultHKT } from "drizzle-orm/pg-core";
import { ClavigerError } from "../keys/errors.ts";
import { withChildSpan } from "../system/tracing.ts";
import { describeOutage, explainNoWrites, isRetryable, storageUnavailable, translateError } from "./errors.ts";
import type { Ending, KeptStatements } from "./statements.ts";

/** Drizzle over Postgres or PGlite, or a transaction in it; with the statements that are kept for it, if any are. */
export type Database = PgDatabase<PgQueryResultHKT> & { readonly kept?: KeptStatements };

/** The statements of a transaction. Their last ones may be returned unsent, to go with the COMMIT. */
export type TransactionWork<T> = (transaction: Database) => Promise<T | Ending<T>>;

/** An open connection pool, or the one embedded connection. */
export interface Connection {
  /** Statements on their own, or together in one transaction, as the connection needs it. */
  read<T>(work: (database: Database) => Promise<T>): Promise<T>;
  transaction<T>(work: TransactionWork<T>): Promise<T>;
  /**
   * One statement that writes. Like a transaction it fails when its commit came with a warning, since its outcome is
   * unknown then.
   */
  write<T>(work: (database: Database) => Promise<T>): Promise<T>;
  /** Resolves if the database answers, however much there is to do. */
  probe(): Promise<unknown>;
  /** Waits for work in progress. */
  close(): Promise<void>;
  /** Cuts off what is under way, which may hang for ever; `connect` is called for another. */
  abandon(): void;
  /** The pool at this moment; undefined for a storage without a pool. */
  load?(): PoolLoad;
}

/** Connections of a pool, and work that waits for one. */
export interface PoolLoad {
  readonly busy: number;
  readonly idle: number;
  readonly waiting: number;
}

/** How a piece of work on storage ended: `away` if the database could not be asked. */
export type StorageOutcome = "answered" | "refused" | "away";

export interface StorageMeter {
  readonly monotonicMs: () => number;
  /** Called after each piece of work, with its duration in milliseconds. */
  readonly onDone: (outcome: StorageOutcome, durationMs: number) => void;
}

export interface StorageOptions {
  /** Opens a connection; called again when the one before has hung. Does no I/O before the first query. */
  readonly connect: () => Connection;
  /**
   * Longest wait for one piece of work, in milliseconds. Postgres ends statements by itself, but cannot when it is
   * frozen or cut off.
   */
  readonly timeoutMs: number;
  /** Called with the reason each time that the database could not be asked; for the log of the operator. */
  readonly onAway?: (reason: string) => void;
  /** Called with the reason and what to do each time that a full disk or a read-only database refused a change. */
  readonly onNoWrites?: (reason: string) => void;
  /** Called after each answer of the database. */
  readonly onAnswer?: () => void;
}

/** Attempts at a transaction that keeps losing to others. */
const ATTEMPTS = 4;

/** Where keys are. Every failure leaves as `STORAGE_UNAVAILABLE` or as the driver's own error without parameters. */
export class Storage {
  readonly #options: StorageOptions;
  #connection: Connection;
  /** Each ends a piece of work that is under way. */
  readonly #giveUps = new Set<(cause: Error) => void>();
  #meter: StorageMeter | undefined;

  constructor(options: StorageOptions) {
    this.#options = options;
    this.#connection = options.connect();
  }

  /** Runs one or more statements, each on its own. */
  read<T>(work: (database: Database) => Promise<T>): Promise<T> {
    return this.#bounded(this.#connection.read(work));
  }

  /**
   * Runs `work` in a transaction, and starts again after a deadlock, so `work` has no effect but on the database.
   * Statements that it sends together run in that order. It must not swallow the error of a statement: Postgres answers
   * the COMMIT after one with a ROLLBACK, and calls that success.
   */
  transaction<T>(work: TransactionWork<T>): Promise<T> {
    return withChildSpan("claviger.transaction", () => this.#bounded(this.#attempt(work, ATTEMPTS)));
  }

  /** Runs one statement that writes; rejects unless it is known to be committed, on a standby too where there is one. */
  write<T>(work: (database: Database) => Promise<T>): Promise<T> {
    return withChildSpan("claviger.transaction", () => this.#bounded(this.#connection.write(work)));
  }

  /** Resolves if the database answers, however much there is to do. */
  async probe(): Promise<unknown> {
    const answer = await this.#connection.probe().catch((error: unknown) => {
      throw this.#noteAway(error);
    });
    this.#options.onAnswer?.();
    return answer;
  }

  /** Measures all work from now on. */
  measure(meter: StorageMeter): void {
    this.#meter = meter;
  }

  /** The pool at this moment; undefined where there is none. */
  load(): PoolLoad | undefined {
    return this.#connection.load?.();
  }

  /** Gives up the connection and everything that waits on it, and opens another: for when the database has hung. */
  reconnect(): void {
    const hung = this.#connection;
    this.#connection = this.#options.connect();
    for (const giveUp of this.#giveUps) giveUp(new Error("given up with its connection"));
    hung.abandon();
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  async #attempt<T>(work: TransactionWork<T>, attempts: number): Promise<T> {
    try {
      return await this.#connection.transaction(work);
    } catch (error) {
      if (attempts > 1 && isRetryable(error)) return this.#attempt(work, attempts - 1);
      throw error;
    }
  }

  #noteAway(error: unknown): Error {
    const translated = translateError(error);
    if (isAwayFailure(translated)) {
      this.#options.onAway?.(describeOutage(translated));
      const noWrites = explainNoWrites(translated);
      if (noWrites !== undefined) this.#options.onNoWrites?.(noWrites);
    }
    return translated;
  }

  async #bounded<T>(work: Promise<T>): Promise<T> {
    const late = Promise.withResolvers<never>();
    const giveUp = (cause: Error) => late.reject(storageUnavailable(cause));
    const timer = setTimeout(() => giveUp(new Error("timed out")), this.#options.timeoutMs);
    this.#giveUps.add(giveUp);
    const meter = this.#meter;
    const beganMs = meter?.monotonicMs() ?? 0;
    const done = (outcome: StorageOutcome) => meter?.onDone(outcome, meter.monotonicMs() - beganMs);
    try {
      const result = await Promise.race([work, late.promise]);
      this.#options.onAnswer?.();
      done("answered");
      return result;
    } catch (error) {
      const failure = this.#noteAway(error);
      done(isAwayFailure(failure) ? "away" : "refused");
      throw failure;
    } finally {
      clearTimeout(timer);
      this.#giveUps.delete(giveUp);
    }
  }
}

function isAwayFailure(error: Error): boolean {
  return error instanceof ClavigerError && error.reason === "STORAGE_UNAVAILABLE";
}
