import { ClavigerError } from "../keys/errors.ts";
import type { HeldField } from "../keys/held-fields.ts";
import type { KeyRecord } from "../keys/key.ts";
import { isOwnScope, missingScopes } from "../keys/scopes.ts";
import type { Caller } from "./caller.ts";

/** A permission that a method requires; each is a scope of the calling key. */
export type Permission =
  | "claviger:verify"
  | "claviger:keys.read"
  | "claviger:keys.write"
  | "claviger:keys.revoke"
  | "claviger:usage.read"
  | "claviger:audit.read"
  | "claviger:nodes.read";

/** Owner of the admin keys. The maximum of keys does not apply to it. */
export const ADMIN_OWNER = "claviger:admin";

/** The scope that makes its holder an administrator. */
export const ADMIN_SCOPE = "claviger:*";

/**
 * Every method that callers of Claviger have, and the permission that it requires. `open` needs no credential. A missing method is
 * refused.
 */
export const METHOD_PERMISSIONS: Readonly<Record<string, Permission | "open">> = {
  "claviger.v1.KeyManagement/CreateKey": "claviger:keys.write",
  "claviger.v1.KeyManagement/GetKey": "claviger:keys.read",
  "claviger.v1.KeyManagement/ListKeys": "claviger:keys.read",
  "claviger.v1.KeyManagement/UpdateKey": "claviger:keys.write",
  "claviger.v1.KeyManagement/RotateKey": "claviger:keys.write",
  "claviger.v1.KeyManagement/RetireSecret": "claviger:keys.revoke",
  "claviger.v1.KeyManagement/RevokeKey": "claviger:keys.revoke",
  "claviger.v1.KeyManagement/RevokeKeys": "claviger:keys.revoke",
  "claviger.v1.KeyManagement/ReportLeakedSecret": "open",
  "claviger.v1.KeyManagement/QueryUsage": "claviger:usage.read",
  "claviger.v1.KeyManagement/ListAuditEvents": "claviger:audit.read",
  "claviger.v1.KeyManagement/ListNodes": "claviger:nodes.read",
  "claviger.v1.KeyVerifier/Verify": "claviger:verify",
  "claviger.v1.KeyVerifier/BatchVerify": "claviger:verify",
  "claviger.v1.KeyVerifier/Sync": "claviger:verify",
  "envoy.service.auth.v3.Authorization/Check": "claviger:verify",
  "claviger.http/Introspect": "claviger:verify",
};

/** Permissions of users, for their own keys. Only services verify. */
const USER_PERMISSIONS: ReadonlySet<Permission> = new Set<Permission>([
  "claviger:keys.read",
  "claviger:keys.write",
  "claviger:keys.revoke",
  "claviger:usage.read",
  "claviger:audit.read",
]);

/** Whether the caller has all permissions. */
export function isAdmin(caller: Caller): boolean {
  switch (caller.kind) {
    case "service":
      return caller.scopes.includes(ADMIN_SCOPE);
    case "user":
      return caller.isAdmin;
    case "anonymous":
      return false;
    case "system":
      return true;
  }
}

/** `PERMISSION_DENIED` unless the caller has the permission. */
export function requirePermission(caller: Caller, permission: Permission): void {
  if (isAdmin(caller)) return;
  if (caller.kind === "user" && USER_PERMISSIONS.has(permission)) return;
  if (caller.kind === "service" && missingScopes(caller.scopes, [permission]).length === 0) return;
  throw new ClavigerError(
    "PERMISSION_DENIED",
    `the caller lacks ${permission}. Call with a key that has this scope, or ask an administrator for one`,
    { metadata: { permission } },
  );
}

/**
 * `SCOPE_NOT_GRANTABLE` unless the caller may grant all of the scopes: administrators any scope, users those of the
 * policy, others any scope outside `claviger:`. Without this check, a caller could gain permissions by creating,
 * widening, enabling or rotating a key.
 */
export function requireGrantable(caller: Caller, scopes: readonly string[]): void {
  if (isAdmin(caller)) return;
  const refused = [...new Set(missingScopes(caller.kind === "user" ? caller.grantableScopes : ["*"], scopes))];
  if (refused.length === 0) return;
  throw new ClavigerError(
    "SCOPE_NOT_GRANTABLE",
    `the caller may not grant ${refused.join(", ")}. Leave it out, or have an administrator do it`,
    { metadata: { scopes: refused.join(",") } },
  );
}

/** The only owner whose keys the caller may see; undefined for callers that may act for all owners. */
export function confinedTo(caller: Caller): string | undefined {
  return caller.kind === "user" && !caller.isAdmin ? caller.owner : undefined;
}

/**
 * The owner of a request: the requested one (empty for all), or the one that the caller is confined to.
 *
 * @throws ClavigerError `PERMISSION_DENIED` for a request that names another owner.
 */
export function confineOwner(caller: Caller, asked: string): string {
  const own = confinedTo(caller);
  if (own === undefined || asked === own) return asked;
  if (asked === "") return own;
  throw new ClavigerError(
    "PERMISSION_DENIED",
    `the caller may act for ${own} only. Leave owner out, or ask an administrator`,
    { metadata: { owner: asked } },
  );
}

/** Whether the caller is the user to whom the owner's keys belong. */
export function isOwnerAsUser(caller: Caller, owner: string): boolean {
  return caller.kind === "user" && caller.owner === owner;
}

/** The effect of a change. `ends` only revokes or disables a key, or retires a secret. */
export type ChangeKind = "ends" | "changes";

/**
 * Whether the caller may change the key. A change of a key with a scope of `claviger:` requires the right to grant that
 * scope; otherwise a service that manages other owners' keys could disarm every administrator. Exceptions: the owner,
 * as a user, may end its keys, and a key may end itself.
 */
export function mayChange(caller: Caller, key: Pick<KeyRecord, "id" | "owner" | "scopes">, kind: ChangeKind): boolean {
  const isOwnEnd = isOwnerAsUser(caller, key.owner) || (caller.kind === "service" && caller.keyId === key.id);
  return isAdmin(caller) || (kind === "ends" && isOwnEnd) || !key.scopes.some(isOwnScope);
}

/** `SCOPE_NOT_GRANTABLE` unless the caller may change the key. */
export function requireChangeable(
  caller: Caller,
  key: Pick<KeyRecord, "id" | "owner" | "scopes">,
  kind: ChangeKind,
): void {
  if (mayChange(caller, key, kind)) return;
  const scopes = key.scopes.filter(isOwnScope);
  throw new ClavigerError(
    "SCOPE_NOT_GRANTABLE",
    `key ${key.id} holds ${scopes.join(", ")}, which the caller may not grant. Have an administrator change or end the key`,
    { metadata: { scopes: scopes.join(","), key_id: key.id } },
  );
}

/** `PERMISSION_DENIED` if the owner, as a user, loosens a field that an administrator or a service has set. */
export function requireLoosenable(
  caller: Caller,
  key: Pick<KeyRecord, "id" | "owner" | "held">,
  loosened: readonly HeldField[],
): void {
  if (isAdmin(caller) || !isOwnerAsUser(caller, key.owner)) return;
  const fields = loosened.filter((field) => key.held.includes(field));
  if (fields.length === 0) return;
  throw new ClavigerError(
    "PERMISSION_DENIED",
    `an administrator or a service has set ${fields.join(", ")} of key ${key.id}; the owner can only tighten it. Ask an administrator to change it`,
    { metadata: { key_id: key.id, held_fields: fields.join(",") } },
  );
}
