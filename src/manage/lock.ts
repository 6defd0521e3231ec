import { credentialInvalid } from "../access/authenticate.ts";
import type { Caller } from "../access/caller.ts";
import { confinedTo, type Permission, requirePermission } from "../access/permissions.ts";
import { ClavigerError } from "../keys/errors.ts";
import type { KeyRecord } from "../keys/key.ts";
import { lockKey } from "../postgres/keys.ts";
import { findSecret } from "../postgres/secrets.ts";
import type { Database } from "../postgres/storage.ts";
import { readDatabaseTime } from "../postgres/time.ts";
import { decide } from "../verify/decide.ts";

/** What a change holds, as of its locks. */
export interface Locked {
  /** The caller with the scopes that its key has now. */
  readonly caller: Caller;
  readonly now: Date;
}

/** Holds the caller's key, and checks again that it is good for this: authority never comes from before the lock. */
export async function lockCaller(transaction: Database, caller: Caller, permission: Permission): Promise<Locked> {
  const held = caller.kind === "service" ? await lockKey(transaction, caller.keyId, "share") : undefined;
  return judge(transaction, { caller, permission, held });
}

/**
 * Holds the key to be changed, and the caller's; in the order of their ids, as everybody does, so that two changes
 * never wait for each other.
 *
 * @throws ClavigerError `KEY_NOT_FOUND`, `CREDENTIAL_INVALID`, `PERMISSION_DENIED`.
 */
export async function lockKeyAndCaller(
  transaction: Database,
  keyId: string,
  by: { readonly caller: Caller; readonly permission: Permission },
): Promise<Locked & { readonly key: KeyRecord }> {
  const callerId = by.caller.kind === "service" ? by.caller.keyId : undefined;
  const rows = new Map<string, KeyRecord | undefined>();
  for (const id of new Set([keyId, ...(callerId === undefined ? [] : [callerId])].sort())) {
    rows.set(id, await lockKey(transaction, id, id === keyId ? "update" : "share"));
  }
  const locked = await judge(transaction, { ...by, held: callerId === undefined ? undefined : rows.get(callerId) });
  const key = rows.get(keyId);
  if (key === undefined || !mayKnow(by.caller, key)) throw keyNotFound(keyId);
  return { ...locked, key };
}

/** Whether the caller may learn that the key exists. */
export function mayKnow(caller: Caller, key: KeyRecord): boolean {
  const own = confinedTo(caller);
  return own === undefined || own === key.owner;
}

export function keyNotFound(keyId: string): ClavigerError {
  return new ClavigerError("KEY_NOT_FOUND", `there is no key ${keyId}. Check the id`, { metadata: { key_id: keyId } });
}

async function judge(
  transaction: Database,
  claim: { readonly caller: Caller; readonly permission: Permission; readonly held: KeyRecord | undefined },
): Promise<Locked> {
  const { caller, held } = claim;
  const fresh = caller.kind === "service" ? { ...caller, scopes: held?.scopes ?? [] } : caller;
  const secret = caller.kind === "service" ? await findSecret(transaction, caller.keyId, caller.version) : undefined;
  const now = await readDatabaseTime(transaction);
  if (caller.kind === "service") {
    if (held === undefined || secret === undefined) throw credentialInvalid("unknown");
    const { verdict } = decide({ key: held, secret, now }, { requiredScopes: [], clientIp: caller.address });
    if (verdict !== "valid") throw credentialInvalid(verdict);
  }
  requirePermission(fresh, claim.permission);
  return { caller: fresh, now };
}
