import type { Caller } from "../access/caller.ts";
import type { Reason } from "../keys/errors.ts";
import { findKey } from "../postgres/keys.ts";
import { readDatabaseTime } from "../postgres/time.ts";
import type { ManageDeps } from "./deps.ts";
import { record } from "./record.ts";

export interface Denial {
  /** Of `KeyManagement`, without the service. */
  readonly method: string;
  readonly reason: Reason;
  /** The key that it was about. */
  readonly keyId?: string;
  /** The owner that was named, where it was not about a key. */
  readonly owner?: string;
}

/** Writes to the audit log that the caller was not allowed to do something. */
export async function recordDenial(deps: ManageDeps, caller: Caller, denial: Denial): Promise<void> {
  const { method, reason, keyId = "" } = denial;
  await deps.storage.transaction(async (transaction) => {
    const key = keyId === "" ? undefined : await findKey(transaction, keyId);
    const owner = key?.owner ?? denial.owner ?? "";
    const time = await readDatabaseTime(transaction);
    const details = { method, reason };
    await record(transaction, { deps, caller }, [
      { action: "call.denied", outcome: "denied", keyId, owner, time, details },
    ]);
  });
}
