import { type AnyColumn, type SQL, sql } from "drizzle-orm";
import { readEpochMs } from "./columns.ts";
import { databaseIdentity } from "./revisions.ts";
import { apiKey, revision } from "./schema.ts";
import { prepared } from "./statements.ts";
import type { Database } from "./storage.ts";

/**
 * The database's clock when the expression is evaluated, cut to milliseconds: a moment that is stored must not be
 * rounded up into the future. Every term, grace and expiry is judged by this clock and no other.
 */
export const databaseTime = sql<Date>`date_trunc('milliseconds', clock_timestamp())`.mapWith(apiKey.createTime);

/** The moment in a form that no setting of the session changes, for connections that cannot rely on any. */
export function inEpochMs(moment: AnyColumn | SQL): SQL<Date> {
  // As text: `infinity` of one row would fail the cast to a number, and with it the statement.
  return sql<Date>`trunc(extract(epoch from ${moment}) * 1000)::text`.mapWith(readEpochMs);
}

/** Reads the database's clock. Call it after taking locks, since waiting for them takes time. */
export async function readDatabaseTime(database: Database): Promise<Date> {
  const [row] = await prepared(database, "read_time", () =>
    database.select({ now: databaseTime }).from(revision),
  ).execute();
  if (row === undefined) throw new Error("table revision has lost its row");
  return row.now;
}

/** When something is judged, by the clock of which database. */
export interface DatabaseMoment {
  readonly now: Date;
  readonly identity: string;
}

/**
 * Like `readDatabaseTime`, with the identity of the database; for a change, whose revision means nothing to another
 * database.
 */
export async function readDatabaseMoment(database: Database): Promise<DatabaseMoment> {
  const read = prepared(database, "read_moment", () =>
    database.select({ now: databaseTime, identity: databaseIdentity }).from(revision),
  );
  const [row] = await read.execute();
  if (row === undefined) throw new Error("table revision has lost its row");
  return row;
}
