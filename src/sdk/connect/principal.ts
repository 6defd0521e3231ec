import { type ContextKey, type ContextValues, createContextKey } from "@connectrpc/connect";
import { noPrincipal, type Principal } from "../protect/principal.ts";

/** The context key under which `requireKey` stores the caller; undefined in calls that were let in without a key. */
export const principalKey: ContextKey<Principal | undefined> = createContextKey<Principal | undefined>(undefined, {
  description: "claviger principal",
});

/** The used part of Connect's `HandlerContext`. */
interface Context {
  readonly values: ContextValues;
}

/**
 * The caller.
 *
 * @example const { key } = principalOf(context); // in a handler: key.id, key.owner, key.scopes, …
 * @throws Error if the call was let in without a key, or no `requireKey` stands before the handler
 */
export function principalOf(context: Context): Principal {
  const principal = findPrincipal(context);
  if (principal === undefined) throw noPrincipal("Add requireKey(verifier) to the interceptors of the router");
  return principal;
}

/** The caller; undefined if the call came without a key, which `anonymous` methods allow. */
export function findPrincipal({ values }: Context): Principal | undefined {
  return values.get(principalKey);
}
