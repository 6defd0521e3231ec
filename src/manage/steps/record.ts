import { actorOf, type Caller } from "../../access/caller.ts";
import type { AuditAction, AuditEvent } from "../../keys/audit-event.ts";
import type { Reason } from "../../keys/errors.ts";
import type { Actor, JsonObject } from "../../keys/key.ts";
import { newTypeId } from "../../keys/key-id.ts";
import { redactSecrets } from "../../keys/secret.ts";
import { insertEvents } from "../../postgres/audit.ts";
import { findKey } from "../../postgres/keys.ts";
import { Ending, type Statement } from "../../postgres/statements.ts";
import type { Database } from "../../postgres/storage.ts";
import { readDatabaseTime } from "../../postgres/time.ts";
import type { ManageDeps } from "../deps.ts";

/** An audit entry about one key. */
export interface Happening {
  readonly action: AuditAction;
  readonly keyId: string;
  readonly owner: string;
  readonly time: Date;
  /** Holds no secret. */
  readonly details: JsonObject;
  /** The actor, if it is not the caller. */
  readonly actor?: Actor;
  /** Default `done`. */
  readonly outcome?: AuditEvent["outcome"];
}

/**
 * Writes audit entries in the same transaction as the change, so that both commit or neither does. Empty without a
 * happening.
 */
export function record(
  transaction: Database,
  by: { readonly deps: Pick<ManageDeps, "random" | "signer">; readonly caller: Caller },
  happenings: readonly Happening[],
): Statement<unknown>[] {
  const { deps, caller } = by;
  const signed = happenings.map((happening) => {
    const event: AuditEvent = {
      id: newTypeId("evt", happening.time, deps.random),
      actor: actorOf(caller),
      outcome: "done",
      requestId: caller.requestId,
      ...happening,
    };
    return { event, signature: deps.signer.sign(event) };
  });
  return signed.length > 0 ? [insertEvents(transaction, signed)] : [];
}

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
    const happening = { action: "call.denied", outcome: "denied", ...about, time, details } as const;
    return Ending.of(record(transaction, { deps, caller }, [happening]), [], () => undefined);
  });
}
