import { noPrincipal, type Principal } from "../protect/principal.ts";

/** A request that `requireKey` has let in. */
export interface WithPrincipal {
  principal?: Principal | undefined;
}

/**
 * The caller: the value of `request.principal`, with its type.
 *
 * @example const { key } = principalOf(req); // in a handler: key.id, key.owner, key.scopes, …
 * @throws Error if the request was let in without a key, or no `requireKey` stands before the handler
 */
export function principalOf(request: object): Principal {
  const principal = findPrincipal(request);
  if (principal === undefined) throw noPrincipal("Put requireKey(verifier) before this handler");
  return principal;
}

/** The caller; undefined if the request came without a key, which `anonymous` allows. */
export function findPrincipal(request: object): Principal | undefined {
  return (request as WithPrincipal).principal;
}
