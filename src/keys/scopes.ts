/** Prefix of the scopes that are permissions in Claviger itself. The bare wildcard does not cover them. */
const OWN_SEGMENT = "claviger";

/** Whether `scope` is a permission in Claviger itself. */
export function isOwnScope(scope: string): boolean {
  return scope === OWN_SEGMENT || scope.startsWith(`${OWN_SEGMENT}:`);
}

/**
 * Whether holding `grant` includes `scope`, which may itself be a wildcard. `orders:*` covers `orders:read` and
 * `orders:read:*`, but not `orders`. `*` covers every scope outside `claviger:`.
 */
export function covers(grant: string, scope: string): boolean {
  if (grant === scope) return true;
  // A row that was not written by Claviger may hold nulls. They grant nothing, and must not throw.
  if (typeof grant !== "string" || typeof scope !== "string") return false;
  if (grant === "*") return !isOwnScope(scope);
  return grant.endsWith(":*") && scope !== "*" && scope.startsWith(grant.slice(0, -1));
}

/** The scopes of `wanted` that no grant covers, in order. */
export function missingScopes(grants: readonly string[], wanted: readonly string[]): string[] {
  return wanted.filter((scope) => !grants.some((grant) => covers(grant, scope)));
}
