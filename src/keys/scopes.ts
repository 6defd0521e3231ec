/** Prefix of the scopes that are permissions in Claviger itself. The bare wildcard does not cover them. */
const OWN_SEGMENT = "claviger";
const NONE: readonly string[] = Object.freeze([]);

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
export function missingScopes(grants: readonly string[], wanted: readonly string[]): readonly string[] {
  // Loops and a shared list, because nearly every verification comes here and misses nothing.
  let missing: string[] | undefined;
  for (const scope of wanted) {
    if (isCovered(grants, scope)) continue;
    missing ??= [];
    missing.push(scope);
  }
  return missing ?? NONE;
}

function isCovered(grants: readonly string[], scope: string): boolean {
  for (const grant of grants) if (covers(grant, scope)) return true;
  return false;
}
