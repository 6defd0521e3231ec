/** Scopes that begin so are permissions in Claviger itself; the bare wildcard does not cover them. */
const OWN_SEGMENT = "claviger";

/** Whether `scope` speaks about Claviger itself. */
export function isOwnScope(scope: string): boolean {
  return scope === OWN_SEGMENT || scope.startsWith(`${OWN_SEGMENT}:`);
}

/**
 * Whether holding `grant` includes `scope`, itself possibly a wildcard. `orders:*` covers `orders:read` and
 * `orders:read:*`, not `orders`; `*` covers everything outside `claviger:`.
 */
export function covers(grant: string, scope: string): boolean {
  if (grant === scope) return true;
  // A row that was written by other means than Claviger may hold nulls: they grant nothing, and throw nothing.
  if (typeof grant !== "string" || typeof scope !== "string") return false;
  if (grant === "*") return !isOwnScope(scope);
  return grant.endsWith(":*") && scope !== "*" && scope.startsWith(grant.slice(0, -1));
}

/** The scopes of `wanted` that no grant covers, in order. */
export function missingScopes(grants: readonly string[], wanted: readonly string[]): string[] {
  return wanted.filter((scope) => !grants.some((grant) => covers(grant, scope)));
}
