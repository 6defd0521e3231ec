import { eq, sql } from "drizzle-orm";
import { revision } from "./schema.ts";
import type { Database } from "./storage.ts";

/**
 * The next revision, as the first part of the statement that writes the change. Nothing may follow that statement.
 * Why one row and no sequence (docs/protocol/revocation.md#r12): docs/decisions/0020-revisions-from-one-row.md.
 */
export function nextRevision(transaction: Database) {
  return transaction.$with("next").as(
    transaction
      .update(revision)
      .set({ rev: sql`${revision.rev} + 1` })
      .where(eq(revision.id, 1))
      .returning({ rev: revision.rev, setMarker: revision.setMarker }),
  );
}

/** Scalar subquery: the last revision that the statement's snapshot sees. */
export const lastRevision = sql<number>`(select ${revision.rev} from ${revision} where ${revision.id} = 1)`.mapWith(
  revision.rev,
);

/**
 * The cluster, the server, the database in it and the timeline (docs/protocol/revocation.md#r19). Clones in one server
 * differ by their oid alone; a database keeps it when it is renamed. Not `pg_control_checkpoint`, whose
 * timeline lags a promotion. On a standby this fails, and with it the statement.
 */
export const databaseIdentity = sql<string>`(select ${revision.clusterId} || ':' || system_identifier || ':' ||
  (select oid from pg_database where datname = current_database()) || ':' ||
  substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) from ${revision}, pg_control_system() where ${revision.id} = 1)`;

/** Whether `identity` names an earlier timeline of the same server's data than `than`: the primary before a promotion. */
export function isEarlierTimeline(identity: string, than: string): boolean {
  const [one, other] = [identity, than].map((text) => /^(.*):([0-9A-F]{8})$/.exec(text) ?? []);
  return one?.[1] !== undefined && one[1] === other?.[1] && Number(`0x${one[2]}`) < Number(`0x${other[2]}`);
}

/** The name of this database between all that share a Redis; made by the first migration. */
export async function readClusterId(database: Database): Promise<string> {
  const [row] = await database.select({ id: revision.clusterId }).from(revision);
  if (row === undefined) throw new Error("table revision has lost its row");
  return row.id;
}

/** The last revision that was committed. */
export async function readRevision(database: Database): Promise<number> {
  const [row] = await database.select({ rev: revision.rev }).from(revision);
  if (row === undefined) throw new Error("table revision has lost its row");
  return row.rev;
}
