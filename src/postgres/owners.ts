import { and, count, eq, gt, isNull } from "drizzle-orm";
import { isCurrentSecret } from "./keys.ts";
import { apiKey, keyOwner, secretVersion } from "./schema.ts";
import type { Database } from "./storage.ts";
import { databaseTime } from "./time.ts";

/** Makes the owner known, and holds its row until the end of the transaction: one at a time counts and adds keys. */
export async function lockOwner(transaction: Database, owner: string): Promise<void> {
  await transaction.insert(keyOwner).values({ id: owner, createTime: databaseTime }).onConflictDoNothing();
  await transaction.select({ id: keyOwner.id }).from(keyOwner).where(eq(keyOwner.id, owner)).for("update");
}

/** Whether somebody of that name has, or ever had, a key. */
export async function isOwnerKnown(database: Database, owner: string): Promise<boolean> {
  const rows = await database.select({ id: keyOwner.id }).from(keyOwner).where(eq(keyOwner.id, owner));
  return rows.length > 0;
}

/** How many keys the owner has that are neither revoked nor expired. */
export async function countLiveKeys(transaction: Database, owner: string): Promise<number> {
  const [row] = await transaction
    .select({ keys: count() })
    .from(apiKey)
    .innerJoin(secretVersion, isCurrentSecret)
    .where(and(eq(apiKey.owner, owner), isNull(apiKey.revokeTime), gt(secretVersion.expireTime, databaseTime)));
  return row?.keys ?? 0;
}
