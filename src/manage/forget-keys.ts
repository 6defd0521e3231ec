import { removeExpiredRequests } from "../postgres/done-requests.ts";
import { deleteDeadSince } from "../postgres/keys.ts";
import { readDatabaseTime } from "../postgres/time.ts";
import type { ManageDeps } from "./deps.ts";
import { after } from "./terms.ts";

const BATCH = 1000;

/** Removes requests that no retry will come for, and keys that have been revoked or expired for longer than the retention; returns how many keys. */
export async function forgetKeys(deps: Pick<ManageDeps, "storage" | "policy">): Promise<number> {
  const before = after(await deps.storage.read(readDatabaseTime), -deps.policy.retentionMs);
  await deps.storage.read(removeExpiredRequests);
  let forgotten = 0;
  for (;;) {
    const batch = await deps.storage.read((database) => deleteDeadSince(database, before, BATCH));
    forgotten += batch;
    if (batch < BATCH) return forgotten;
  }
}
