import { type Column, type SQL, sql } from "drizzle-orm";

/** The statements that Drizzle has put together for one connection or pool. */
export interface KeptStatements {
  readonly known: Map<string, unknown>;
  /**
   * Whether Postgres keeps them too, with their plans. Off behind a transaction pooler, which may send the next statement
   * on another connection.
   */
  readonly areNamed: boolean;
}

/** A statement with its values. It is put together, so that only its values can be wrong before it is sent. */
export interface Statement<T> {
  /** Sends it in this turn; rejects like the driver. */
  send(): Promise<T>;
}

interface Preparable {
  prepare(name: string): unknown;
}

/** Statements that are kept for each connection; an update of keys has one for each set of fields. */
const MOST_KEPT = 64;

/**
 * The statement of that name, which `build` puts together once for each connection: this takes Drizzle longer than
 * Postgres needs for the statement (docs/decisions/0022-one-flight-to-the-commit.md). Values that differ from call to
 * call are placeholders. Postgres tells names apart by their first 63 characters.
 */
export function prepared<Query extends Preparable>(
  database: { readonly kept?: KeptStatements },
  name: string,
  build: () => Query,
): ReturnType<Query["prepare"]> {
  const { known, areNamed } = database.kept ?? { known: new Map<string, unknown>(), areNamed: false };
  const kept = known.get(name);
  if (kept !== undefined) return kept as ReturnType<Query["prepare"]>;
  const isKept = known.size < MOST_KEPT;
  const made = build().prepare(isKept && areNamed ? name : "") as ReturnType<Query["prepare"]>;
  if (isKept) known.set(name, made);
  return made;
}

/** The place of a value of that column in a prepared statement; unlike Drizzle's own, also for null. */
export function place(name: string, column: Column): SQL {
  const mapToDriverValue = (value: unknown) => (value === null ? null : column.mapToDriverValue(value));
  return sql`${sql.param(sql.placeholder(name), { mapToDriverValue })}`;
}

/** Places for values of all these columns, each under its own name. */
export function places<Columns extends Readonly<Record<string, Column>>>(
  columns: Columns,
): { readonly [Name in keyof Columns]: SQL } {
  const entries = Object.entries(columns).map(([name, column]) => [name, place(name, column)] as const);
  return Object.fromEntries(entries) as { readonly [Name in keyof Columns]: SQL };
}

type Results<Statements extends readonly Statement<unknown>[]> = {
  -readonly [At in keyof Statements]: Statements[At] extends Statement<infer Result> ? Result : never;
};

/**
 * The end of a transaction: its last statements, which are sent together with the COMMIT, and the use of their results.
 * `conclude` is called once they are committed, and must not fail.
 */
export class Ending<T> {
  readonly statements: readonly Statement<unknown>[];
  readonly conclude: (results: readonly unknown[]) => T;

  private constructor(statements: readonly Statement<unknown>[], conclude: (results: readonly unknown[]) => T) {
    this.statements = statements;
    this.conclude = conclude;
  }

  /** `conclude` gets the results of `last` alone. */
  static of<const Last extends readonly Statement<unknown>[], T>(
    before: readonly Statement<unknown>[],
    last: Last,
    conclude: (results: Results<Last>) => T,
  ): Ending<T> {
    return new Ending([...before, ...last], (results) => conclude(results.slice(before.length) as Results<Last>));
  }

  /** The same end, with further use of its result. */
  map<U>(use: (result: T) => U): Ending<U> {
    return new Ending(this.statements, (results) => use(this.conclude(results)));
  }
}
