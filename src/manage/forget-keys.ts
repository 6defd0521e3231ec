import { ADMIN_OWNER } from "../access/permissions.ts";
import { CANARY_OWNER } from "../keys/owner.ts";
import { removeExpiredRequests } from "../postgres/done-requests.ts";
import { deleteCanaryKeys, deleteDeadSince } from "../postgres/keys.ts";
import { readDatabaseTime } from "../postgres/time.ts";
import type { ManageDeps } from "./deps.ts";
import { after } from "./steps/preconditions.ts";

const BATCH = 1000;
/**
 * How long a canary's key stays once no verifier accepts it, in milliseconds: longer than the rest of a round, so that
 * every node is asked about a key that still exists.
 */
const SETTLED_CANARY_MS = 5 * 60_000;
/** How long it stays after its revocation or end in any case, in milliseconds. Every lease is over by then. */
const CANARY_MS = 3_600_000;

/**
 * Removes expired request ids, and keys that have been revoked or expired for longer than the retention. Returns the
 * number of removed keys.
 */
export async function forgetKeys(deps: Pick<ManageDeps, "storage" | "policy">): Promise<number> {
  const { storage, policy } = deps;
  const now = await storage.read(readDatabaseTime);
  await storage.read(removeExpiredRequests);
  const dead = after(now, -policy.retentionMs);
  return repeat(() => storage.read((database) => deleteDeadSince(database, dead, BATCH)));
}

/**
 * Removes the keys of ended rounds of canaries, of which there is one every few seconds. The feed, the audit log and the
 * counts of usage have no reference to the row. Returns the number of removed keys.
 */
export async function forgetCanaryKeys({ storage }: Pick<ManageDeps, "storage">): Promise<number> {
  const now = await storage.read(readDatabaseTime);
  const dead = {
    owners: [ADMIN_OWNER, CANARY_OWNER],
    ...{ settledBefore: after(now, -SETTLED_CANARY_MS), deadBefore: after(now, -CANARY_MS), limit: BATCH },
  };
  return repeat(() => storage.read((database) => deleteCanaryKeys(database, dead)));
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
