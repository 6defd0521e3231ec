import { sql } from "drizzle-orm";
import { auditRoot } from "./schema.ts";
import type { Database } from "./storage.ts";

/** An audit key, wrapped by a newer root secret; ids name the root secrets. */
export interface WrappedRoot {
  readonly id: string;
  readonly wrappedBy: string;
  readonly wrapped: Buffer;
}

/** More than root secrets are ever rotated; a table that strangers fill must not fill the memory. */
const MOST = 1000;

export function listWrappedRoots(database: Database): Promise<WrappedRoot[]> {
  return database.select().from(auditRoot).limit(MOST);
}

/** Adds rows, or replaces the rows of the same roots. */
export async function keepWrappedRoots(database: Database, rows: readonly WrappedRoot[]): Promise<void> {
  await database
    .insert(auditRoot)
    .values([...rows])
    .onConflictDoUpdate({ target: [auditRoot.id, auditRoot.wrappedBy], set: { wrapped: sql`excluded.wrapped` } });
}
