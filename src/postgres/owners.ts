import { and, countDistinct, eq, gt, isNull, ne, or } from "drizzle-orm";
import { isCurrentSecret } from "./keys.ts";
import { apiKey, keyOwner, secretVersion } from "./schema.ts";
import type { Database } from "./storage.ts";
import { databaseTime } from "./time.ts";

/** Makes the owner known, and holds its row until the end of the transaction: one at a time counts and adds keys. */
export async function lockOwner(transaction: Database, owner: string): Promise<void> {
  await transaction.insert(keyOwner).values({ id: owner, createTime: databaseTime }).onConflictDoNothing();
  await transaction.select({ id: keyOwner.id }).from(keyOwner).where(eq(keyOwner.id, owner)).for("update");
}

/** True if the owner has, or ever had, a key. */
export async function isOwnerKnown(database: Database, owner: string): Promise<boolean> {
  const rows = await database.select({ id: keyOwner.id }).from(keyOwner).where(eq(keyOwner.id, owner));
  return rows.length > 0;
}

/**
 * How many keys the owner has, besides `except`, that are neither revoked nor expired. A key whose old secret is still
 * accepted counts too, or rotating to a term of a second would free its place while it goes on being used.
 */
export async function countLiveKeys(transaction: Database, owner: string, except: string): Promise<number> {
  const [row] = await transaction
    .select({ keys: countDistinct(apiKey.id) })
    .from(apiKey)
    .innerJoin(secretVersion, eq(secretVersion.keyId, apiKey.id))
    .where(
      and(
        eq(apiKey.owner, owner),
        ne(apiKey.id, except),
        isNull(apiKey.revokeTime),
        gt(secretVersion.expireTime, databaseTime),
        or(isCurrentSecret, gt(secretVersion.retireTime, databaseTime)),
      ),
    );
  return row?.keys ?? 0;
}
