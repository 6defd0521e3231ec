import { asc, sql } from "drizzle-orm";
import { lastRevision } from "./revisions.ts";
import { verifier } from "./schema.ts";
import type { Database } from "./storage.ts";
import { databaseTime } from "./time.ts";

/** Every process on the list, as an operator wants to see it. */
export function listVerifiers(database: Database) {
  return database
    .select({
      epoch: verifier.epoch,
      address: verifier.address,
      termMs: verifier.termMs,
      isCollected: sql<boolean>`${verifier.collectTime} is not null`,
      usesRevocationSet: verifier.usesRevocationSet,
      /** Milliseconds since its last renewal, by the database's clock. */
      silentMs: sql<number>`(extract(epoch from ${databaseTime} - ${verifier.renewTime}) * 1000)::float8`,
      /** Changes that it has not acknowledged. */
      lagRevisions: sql<number>`(${lastRevision} - ${verifier.ackedRevision})::int`,
    })
    .from(verifier)
    .orderBy(asc(verifier.address), asc(verifier.epoch));
}
