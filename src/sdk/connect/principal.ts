import { type ContextKey, type ContextValues, createContextKey } from "@connectrpc/connect";
import { noPrincipal, type Principal } from "../protect/principal.ts";

/** Where `requireKey` puts whoever calls; undefined in calls that were let in without a key. */
export const principalKey: ContextKey<Principal | undefined> = createContextKey<Principal | undefined>(undefined, {
  description: "claviger principal",
});

/** The part of Connect's `HandlerContext` that is needed here. */
interface Context {
  readonly values: ContextValues;
}

/**
 * Whoever makes this call.
 *
 * @example const { key } = principalOf(context); // in a handler: key.id, key.owner, key.scopes, …
 * @throws Error if the call was let in without a key, or no `requireKey` stands before the handler
 */
export function principalOf(context: Context): Principal {
  const principal = findPrincipal(context);
  if (principal === undefined) throw noPrincipal("Add requireKey(verifier) to the interceptors of the router");
  return principal;
}

/** Whoever makes this call; undefined if it came without a key, which `anonymous` methods allow. */
export function findPrincipal({ values }: Context): Principal | undefined {
  return values.get(principalKey);
}
