import { actorOf, type Caller } from "../access/caller.ts";
import { requireChangeable } from "../access/permissions.ts";
import { ClavigerError } from "../keys/errors.ts";
import type { Actor, JsonObject, KeyRecord, KeyView, RevocationReason } from "../keys/key.ts";
import { redactSecrets } from "../keys/secret.ts";
import { findByDigests } from "../postgres/secrets.ts";
import type { Database } from "../postgres/storage.ts";
import type { ManageDeps } from "./deps.ts";
import { type Locked, lockKeyAndCaller } from "./steps/lock.ts";
import { type Happening, record } from "./steps/record.ts";
import { type Receipt, settle } from "./steps/settle.ts";
import { viewSecrets } from "./steps/view.ts";
import { writeChange } from "./steps/write-change.ts";

export interface Revocation {
  readonly reason: RevocationReason | null;
  /** Pasted secrets are redacted before it is stored. */
  readonly note: string;
}

/** The key to revoke, by its id or by one of its secrets. Looking up a secret does not count as a use of the key. */
export type RevokeKey = Revocation & ({ readonly keyId: string } | { readonly secret: string });

/**
 * Revokes a key for good. A second revocation changes nothing, and succeeds once the first is effective.
 *
 * @throws ClavigerError `KEY_NOT_FOUND`. The error for a secret is the same whether it is unknown or of a key that the
 * caller must not see.
 */
export async function revokeKey(
  deps: ManageDeps,
  caller: Caller,
  command: RevokeKey,
): Promise<{ readonly view: KeyView; readonly receipt: Receipt }> {
  const { reason, note } = command;
  const actor = actorOf(caller);
  const revocation = await deps.storage.transaction(async (transaction) => {
    const held = await lockNamed(transaction, deps, { caller, command });
    const { key, now, identity } = held;
    const keyId = key.id;
    requireChangeable(held.caller, key, "ends");
    if (key.revokeTime !== null) {
      const secrets = await viewSecrets(transaction, key, now).send();
      return { view: { key, secrets, now, identity }, changed: false };
    }
    const change = { revokeTime: now, revokedBy: actor, revokeReason: reason, revokeNote: redactSecrets(note) };
    const details = revocationDetails(command);
    const happening: Happening = { action: "key.revoked", keyId, owner: key.owner, time: now, details };
    const before = record(transaction, { deps, caller }, [happening]);
    return writeChange(transaction, held, { change, narrows: true, before }).map((view) => ({ view, changed: true }));
  });
  const { view, changed } = revocation;
  if (changed) logRevocation(deps, view, actor);
  return { view, receipt: await settle(deps, { ...view, changed }) };
}

async function lockNamed(
  transaction: Database,
  deps: ManageDeps,
  { caller, command }: { readonly caller: Caller; readonly command: RevokeKey },
): Promise<Locked & { readonly key: KeyRecord }> {
  const by = { caller, permission: "claviger:keys.revoke" } as const;
  if ("keyId" in command) return lockKeyAndCaller(transaction, command.keyId, by);
  const recognition = deps.keyring.recognise(command.secret);
  if (recognition.kind !== "genuine") throw secretNotFound();
  // The key of a secret never changes, so that it can be read before the key is locked.
  const [found] = (await findByDigests(transaction, [recognition.digest])).values();
  if (found === undefined) throw secretNotFound();
  try {
    return await lockKeyAndCaller(transaction, found.key.id, by);
  } catch (error) {
    throw error instanceof ClavigerError && error.reason === "KEY_NOT_FOUND" ? secretNotFound() : error;
  }
}

function secretNotFound(): ClavigerError {
  return new ClavigerError("KEY_NOT_FOUND", "the secret belongs to no key here. Check that it is whole");
}

/** The details of a revocation in the audit log. */
export function revocationDetails({ reason, note }: Revocation): JsonObject {
  return { ...(reason === null ? {} : { reason }), ...(note === "" ? {} : { note: redactSecrets(note) }) };
}

/** Logs a committed revocation. */
export function logRevocation(deps: ManageDeps, { key }: KeyView, actor: Actor): void {
  const { id: keyId, owner, revokeReason: reason, revision } = key;
  deps.log.info({ event: "key.revoked", keyId, owner, reason, revision, actor }, "key revoked");
}
