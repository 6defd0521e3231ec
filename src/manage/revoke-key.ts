import { actorOf, type Caller } from "../access/caller.ts";
import { requireChangeable } from "../access/permissions.ts";
import type { Actor, JsonObject, KeyView, RevocationReason } from "../keys/key.ts";
import { redactSecrets } from "../keys/redact.ts";
import type { ManageDeps } from "./deps.ts";
import { lockKeyAndCaller } from "./lock.ts";
import type { Receipt } from "./receipt.ts";
import { type Happening, record } from "./record.ts";
import { settle } from "./settle.ts";
import { viewSecrets } from "./view.ts";
import { writeChange } from "./write-change.ts";

export interface Revocation {
  readonly reason: RevocationReason | null;
  /** Secrets that were pasted into it are redacted before it is kept. */
  readonly note: string;
}

/** Revokes a key for good. Again on a revoked key changes nothing, and is OK once the first is effective. */
export async function revokeKey(
  deps: ManageDeps,
  caller: Caller,
  command: Revocation & { readonly keyId: string },
): Promise<{ readonly view: KeyView; readonly receipt: Receipt }> {
  const { keyId, reason, note } = command;
  const actor = actorOf(caller);
  const revocation = await deps.storage.transaction(async (transaction) => {
    const held = await lockKeyAndCaller(transaction, keyId, { caller, permission: "claviger:keys.revoke" });
    const { key, now, identity } = held;
    requireChangeable(held.caller, key, "ends");
    if (key.revokeTime !== null) {
      return { view: { key, secrets: await viewSecrets(transaction, key, now), now, identity }, changed: false };
    }
    const change = { revokeTime: now, revokedBy: actor, revokeReason: reason, revokeNote: redactSecrets(note) };
    const details = revocationDetails(command);
    const happening: Happening = { action: "key.revoked", keyId, owner: key.owner, time: now, details };
    const [, view] = await Promise.all([
      record(transaction, { deps, caller }, [happening]),
      writeChange(transaction, held, { change, narrows: true }),
    ]);
    return { view, changed: true };
  });
  const { view, changed } = revocation;
  if (changed) logRevocation(deps, view, actor);
  return { view, receipt: await settle(deps, { ...view, changed }) };
}

/** What the audit log keeps of a revocation. */
export function revocationDetails({ reason, note }: Revocation): JsonObject {
  return { ...(reason === null ? {} : { reason }), ...(note === "" ? {} : { note: redactSecrets(note) }) };
}

/** Tells the log about a revocation that has been committed. */
export function logRevocation(deps: ManageDeps, { key }: KeyView, actor: Actor): void {
  const { id: keyId, owner, revokeReason: reason, revision } = key;
  deps.log.info({ event: "key.revoked", keyId, owner, reason, revision, actor }, "key revoked");
}
