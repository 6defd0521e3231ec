import { actorOf, type Caller } from "../access/caller.ts";
import type { AuditAction, AuditEvent } from "../keys/audit-event.ts";
import type { Actor, JsonObject } from "../keys/key.ts";
import { newTypeId } from "../keys/key-id.ts";
import { insertEvents } from "../postgres/audit.ts";
import type { Database } from "../postgres/storage.ts";
import type { ManageDeps } from "./deps.ts";

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

/** Writes audit entries in the same transaction as the change, so that both commit or neither does. */
export async function record(
  transaction: Database,
  by: { readonly deps: Pick<ManageDeps, "random" | "signer">; readonly caller: Caller },
  happenings: readonly Happening[],
): Promise<void> {
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
  if (signed.length > 0) await insertEvents(transaction, signed);
}
