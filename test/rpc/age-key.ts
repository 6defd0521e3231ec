import { eq, sql } from "drizzle-orm";
import { apiKey, secretVersion } from "../../src/postgres/schema.ts";
import type { Storage } from "../../src/postgres/storage.ts";

/** Moves the dates of a key and its secrets back, as if all of it had happened that many milliseconds earlier. */
export async function ageKey(storage: Storage, keyId: string, ms: number): Promise<void> {
  const span = sql`${ms}::double precision * interval '1 millisecond'`;
  await storage.transaction(async (transaction) => {
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
  });
}
