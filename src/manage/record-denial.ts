import type { Caller } from "../access/caller.ts";
import type { Reason } from "../keys/errors.ts";
import { redactSecrets } from "../keys/secret.ts";
import { findKey } from "../postgres/keys.ts";
import { readDatabaseTime } from "../postgres/time.ts";
import type { ManageDeps } from "./deps.ts";
import { record } from "./record.ts";

/** One denied call, or further ones for the same reason. */
export interface Denial {
  /** Methods of `KeyManagement`, without the service. */
  readonly methods: readonly string[];
  readonly reason: Reason;
  /** The number of further calls; undefined for one call. */
  readonly count?: number;
  /** The key that the call named. */
  readonly keyId?: string;
  /** The owner that the call named. */
  readonly owner?: string;
}

/**
 * Records a denial in the audit log. A denial about an existing key appears in that key's log. Other values of the call
 * are only details, because a caller must not write into the log of any owner it names.
 */
export async function recordDenial(deps: ManageDeps, caller: Caller, denial: Denial): Promise<void> {
  const { methods, reason, count, keyId = "", owner = "" } = denial;
  await deps.storage.transaction(async (transaction) => {
    const key = keyId === "" ? undefined : await findKey(transaction, keyId);
    const time = await readDatabaseTime(transaction);
    const details = {
      ...(count === undefined ? { method: methods.join() } : { methods: [...methods], count }),
      reason,
      ...(keyId === "" || key !== undefined ? {} : { asked_key: redactSecrets(keyId) }),
      ...(owner === "" ? {} : { asked_owner: redactSecrets(owner) }),
    };
    const about = { keyId: key?.id ?? "", owner: key?.owner ?? "" };
    await record(transaction, { deps, caller }, [
      { action: "call.denied", outcome: "denied", ...about, time, details },
    ]);
  });
}
