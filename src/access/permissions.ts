import { ClavigerError } from "../keys/errors.ts";
import { isOwnScope, missingScopes } from "../keys/scopes.ts";
import type { Caller } from "./caller.ts";

/** What a method needs of its caller; each is a scope of the calling key. */
export type Permission =
  | "claviger:verify"
  | "claviger:keys.read"
  | "claviger:keys.write"
  | "claviger:keys.revoke"
  | "claviger:usage.read"
  | "claviger:audit.read";

/** Owner of the admin keys. Not bound by the maximum of keys. */
export const ADMIN_OWNER = "claviger:admin";

/** Holding it is being an administrator. */
export const ADMIN_SCOPE = "claviger:*";

/** Every method of `claviger.v1` and what it needs; `open` needs no credential. A method that is missing is refused. */
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
  "claviger.v1.KeyVerifier/Verify": "claviger:verify",
  "claviger.v1.KeyVerifier/BatchVerify": "claviger:verify",
};

/** `PERMISSION_DENIED` unless the caller has the permission. */
export function requirePermission(caller: Caller, permission: Permission): void {
  if (caller.kind === "system") return;
  if (caller.kind === "service" && missingScopes(caller.scopes, [permission]).length === 0) return;
  throw new ClavigerError(
    "PERMISSION_DENIED",
    `the calling key lacks the scope ${permission}. Call with a key that has it, or ask an administrator for one`,
    { metadata: { permission } },
  );
}

/**
 * `SCOPE_NOT_GRANTABLE` unless the caller may grant every one of the scopes: administrators any, others any outside
 * `claviger:`. Without it, creating, widening, enabling or rotating a key would be a way up.
 */
export function requireGrantable(caller: Caller, scopes: readonly string[]): void {
  if (caller.kind === "system") return;
  if (caller.kind === "service" && caller.scopes.includes(ADMIN_SCOPE)) return;
  const refused = [...new Set(scopes.filter(isOwnScope))];
  if (refused.length === 0) return;
  throw new ClavigerError(
    "SCOPE_NOT_GRANTABLE",
    `the caller may not grant ${refused.join(", ")}. Leave it out, or have an administrator do it`,
    { metadata: { scopes: refused.join(",") } },
  );
}
