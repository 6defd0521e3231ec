import { credentialInvalid } from "../../access/authenticate.ts";
import type { Caller } from "../../access/caller.ts";
import { confinedTo, type Permission, requirePermission } from "../../access/permissions.ts";
import { ClavigerError } from "../../keys/errors.ts";
import type { KeyRecord, SecretRecord } from "../../keys/key.ts";
import { lockKey } from "../../postgres/keys.ts";
import { findSecret } from "../../postgres/secrets.ts";
import type { Database } from "../../postgres/storage.ts";
import { type DatabaseMoment, readDatabaseMoment } from "../../postgres/time.ts";
import { decide, standingOf } from "../../verify/decide.ts";

/** The state that a change has locked. */
export interface Locked extends DatabaseMoment {
  /** The caller with the current scopes of its key. */
  readonly caller: Caller;
}

/** Locks the caller's key and checks its permissions again: authority must not come from before the lock. */
export async function lockCaller(transaction: Database, caller: Caller, permission: Permission): Promise<Locked> {
  const [held, known] = await Promise.all([
    caller.kind === "service" ? lockKey(transaction, caller.keyId, "share") : undefined,
    readCredential(transaction, caller),
  ]);
  return judge({ caller, permission, held, ...known });
}

/**
 * Locks the key to change and the caller's key. All changes lock in the order of ids, so that two changes never
 * deadlock.
 *
 * @throws ClavigerError `KEY_NOT_FOUND`, `CREDENTIAL_INVALID`, `PERMISSION_DENIED`.
 */
export async function lockKeyAndCaller(
  transaction: Database,
  keyId: string,
  by: { readonly caller: Caller; readonly permission: Permission },
): Promise<Locked & { readonly key: KeyRecord }> {
  const callerId = by.caller.kind === "service" ? by.caller.keyId : undefined;
  const ids = [...new Set([keyId, callerId ?? keyId])].sort();
  // Sent together; the database runs them one after the other.
  const [rows, known] = await Promise.all([
    Promise.all(ids.map((id) => lockKey(transaction, id, id === keyId ? "update" : "share"))),
    readCredential(transaction, by.caller),
  ]);
  const found = (id: string | undefined) => rows.find((row) => row?.id === id);
  const locked = judge({ ...by, held: found(callerId), ...known });
  const key = found(keyId);
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

/** The caller's secret, and the time at which it is judged. */
interface Credential extends DatabaseMoment {
  readonly secret: SecretRecord | undefined;
}

async function readCredential(transaction: Database, caller: Caller): Promise<Credential> {
  const [secret, moment] = await Promise.all([
    caller.kind === "service" ? findSecret(transaction, caller.keyId, caller.version) : undefined,
    readDatabaseMoment(transaction),
  ]);
  return { secret, ...moment };
}

function judge(
  claim: Credential & {
    readonly caller: Caller;
    readonly permission: Permission;
    readonly held: KeyRecord | undefined;
  },
): Locked {
  const { caller, held, secret, now, identity } = claim;
  const fresh = caller.kind === "service" ? { ...caller, scopes: held?.scopes ?? [] } : caller;
  if (caller.kind === "service") {
    if (held === undefined || secret === undefined) throw credentialInvalid("unknown");
    const standing = standingOf({ key: held, secret, now });
    const { verdict } = decide({ ...held, standing }, { requiredScopes: [], clientIp: caller.address });
    if (verdict !== "valid") throw credentialInvalid(verdict);
  }
  requirePermission(fresh, claim.permission);
  return { caller: fresh, now, identity };
}
