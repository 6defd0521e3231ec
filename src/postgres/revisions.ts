import { eq, sql } from "drizzle-orm";
import { revision } from "./schema.ts";
import type { Database } from "./storage.ts";

/**
 * The next revision. Taking it by updating the one row makes revisions follow commit order without gaps (a sequence
 * would skip late commits); take it late, since it makes every other change wait until the commit.
 */
export async function takeRevision(transaction: Database): Promise<number> {
  const [row] = await transaction
    .update(revision)
    .set({ rev: sql`${revision.rev} + 1` })
    .where(eq(revision.id, 1))
    .returning({ rev: revision.rev });
  if (row === undefined) throw new Error("table revision has lost its row");
  return row.rev;
}

/** Scalar subquery: the last revision that the statement's snapshot sees. */
export const lastRevision = sql<number>`(select ${revision.rev} from ${revision} where ${revision.id} = 1)`.mapWith(
  revision.rev,
);

/** The last revision that was committed. */
export async function readRevision(database: Database): Promise<number> {
  const [row] = await database.select({ rev: revision.rev }).from(revision);
  if (row === undefined) throw new Error("table revision has lost its row");
  return row.rev;
}
