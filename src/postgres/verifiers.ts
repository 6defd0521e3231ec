import { eq, gt, lt, sql } from "drizzle-orm";
import { verifier } from "./schema.ts";
import type { Database } from "./storage.ts";
import { databaseTime } from "./time.ts";

/** A running server process. */
export interface VerifierRow {
  /** A UUID per process start. */
  readonly epoch: string;
  /** Ids of the root secrets it knows. */
  readonly roots: readonly string[];
  readonly address: string;
}

/** After this long without a renewal a process counts as gone. */
const GONE_AFTER = sql`interval '30 seconds'`;

/** Registers the process, or says that it still runs. */
export async function renewVerifier(database: Database, row: VerifierRow): Promise<void> {
  const values = { ...row, renewTime: databaseTime };
  await database.insert(verifier).values(values).onConflictDoUpdate({ target: verifier.epoch, set: values });
}

/** Takes the process off the list, and those that have been gone for long. */
export async function removeVerifier(database: Database, epoch: string): Promise<void> {
  await database.delete(verifier).where(eq(verifier.epoch, epoch));
  await database.delete(verifier).where(lt(verifier.renewTime, sql`${databaseTime} - interval '1 day'`));
}

/** The roots that each running process knows. */
export async function listKnownRoots(database: Database): Promise<(readonly string[])[]> {
  const rows = await database
    .select({ roots: verifier.roots })
    .from(verifier)
    .where(gt(verifier.renewTime, sql`${databaseTime} - ${GONE_AFTER}`));
  return rows.map((row) => row.roots);
}
