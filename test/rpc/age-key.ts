import { eq, sql } from "drizzle-orm";
import { expect } from "vitest";
import { nextRevision } from "../../src/postgres/revisions.ts";
import { apiKey, invalidation, secretVersion, verifier } from "../../src/postgres/schema.ts";
import type { Storage } from "../../src/postgres/storage.ts";
import { eventually } from "../../testkit/eventually.ts";

/**
 * Moves the dates of a key and its secrets back, as if all of it had happened that many milliseconds earlier. It enters
 * the feed, and returns once every verifier knows: time does not jump otherwise.
 */
export async function ageKey(storage: Storage, keyId: string, ms: number): Promise<void> {
  const span = sql`${ms}::double precision * interval '1 millisecond'`;
  const revision = await storage.transaction(async (transaction) => {
    await transaction
      .update(secretVersion)
      .set({
        createTime: sql`${secretVersion.createTime} - ${span}`,
        expireTime: sql`${secretVersion.expireTime} - ${span}`,
        retireTime: sql`${secretVersion.retireTime} - ${span}`,
      })
      .where(eq(secretVersion.keyId, keyId));
    await transaction
      .update(apiKey)
      .set({
        createTime: sql`${apiKey.createTime} - ${span}`,
        updateTime: sql`${apiKey.updateTime} - ${span}`,
        revokeTime: sql`${apiKey.revokeTime} - ${span}`,
      })
      .where(eq(apiKey.id, keyId));
    const next = nextRevision(transaction);
    const [row] = await transaction.with(next).select({ rev: next.rev }).from(next);
    await transaction.insert(invalidation).values({ rev: row?.rev ?? 0, keyId });
    return row?.rev ?? 0;
  });
  await eventually(async () => {
    const rows = await storage.read((database) => database.select({ acked: verifier.ackedRevision }).from(verifier));
    for (const { acked } of rows) expect(acked).toBeGreaterThanOrEqual(revision);
  });
}
