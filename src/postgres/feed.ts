import { and, eq, lt, lte, max, sql } from "drizzle-orm";
import { invalidation, revision } from "./schema.ts";
import type { Database } from "./storage.ts";
import { databaseTime } from "./time.ts";

/** Removes what entered the feed more than `ageMs` ago, and says so first; returns the revision up to which. */
export async function trimFeed(transaction: Database, ageMs: number): Promise<number> {
  const before = sql`${databaseTime} - ${ageMs} * interval '1 millisecond'`;
  const [old] = await transaction
    .select({ rev: max(invalidation.rev) })
    .from(invalidation)
    .where(lt(invalidation.time, before));
  const upTo = old?.rev ?? 0;
  if (upTo > 0) {
    await transaction
      .update(revision)
      .set({ trimmedRev: upTo })
      .where(and(eq(revision.id, 1), lt(revision.trimmedRev, upTo)));
    await transaction.delete(invalidation).where(lte(invalidation.rev, upTo));
  }
  return upTo;
}

/** Makes `marker` the valid one of the revocation set if `seen` still is; returns the last revision if it did. */
export async function replaceSetMarker(database: Database, seen: string, marker: string): Promise<number | undefined> {
  const [row] = await database
    .update(revision)
    .set({ setMarker: marker })
    .where(and(eq(revision.id, 1), eq(revision.setMarker, seen)))
    .returning({ rev: revision.rev });
  return row?.rev;
}

/** The marker of the revocation set that is valid; empty before the first. */
export async function readSetMarker(database: Database): Promise<string> {
  const [row] = await database.select({ marker: revision.setMarker }).from(revision);
  if (row === undefined) throw new Error("table revision has lost its row");
  return row.marker;
}
