import { ADMIN_OWNER } from "../access/permissions.ts";
import { CANARY_OWNER } from "../keys/owner.ts";
import { removeExpiredRequests } from "../postgres/done-requests.ts";
import { deleteCanaryKeys, deleteDeadSince } from "../postgres/keys.ts";
import { readDatabaseTime } from "../postgres/time.ts";
import type { ManageDeps } from "./deps.ts";
import { after } from "./terms.ts";

const BATCH = 1000;
/** How long the revoked keys of a canary are kept, in milliseconds: a canary creates one every few seconds. */
const CANARY_MS = 3_600_000;

/**
 * Removes expired request ids, keys that have been revoked or expired for longer than the retention, and revoked keys
 * of canaries after an hour. Returns the number of removed keys.
 */
export async function forgetKeys(deps: Pick<ManageDeps, "storage" | "policy">): Promise<number> {
  const { storage, policy } = deps;
  const now = await storage.read(readDatabaseTime);
  await storage.read(removeExpiredRequests);
  const canary = { owners: [ADMIN_OWNER, CANARY_OWNER], before: after(now, -CANARY_MS), limit: BATCH };
  const dead = after(now, -policy.retentionMs);
  return (
    (await repeat(() => storage.read((database) => deleteDeadSince(database, dead, BATCH)))) +
    (await repeat(() => storage.read((database) => deleteCanaryKeys(database, canary))))
  );
}

/** Repeats the work until a batch is not full. */
async function repeat(removeBatch: () => Promise<number>): Promise<number> {
  let removed = 0;
  for (;;) {
    const batch = await removeBatch();
    removed += batch;
    if (batch < BATCH) return removed;
  }
}
