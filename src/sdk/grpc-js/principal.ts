import type { Metadata } from "@grpc/grpc-js";
import { noPrincipal, type Principal } from "../protect/principal.ts";

/** Under this property of the metadata `requireKey` stores the caller: interceptors and handlers share no other object. */
const PRINCIPAL: unique symbol = Symbol("claviger principal");

interface Marked extends Metadata {
  [PRINCIPAL]?: Principal;
}

/** The used part of grpc-js' calls, of all four kinds. */
interface ServerCall {
  readonly metadata: Metadata;
}

/**
 * The caller.
 *
 * @example const { key } = principalOf(call); // in a handler: key.id, key.owner, key.scopes, …
 * @throws Error if the call was let in without a key, or no `requireKey` stands before the handler
 */
export function principalOf(call: ServerCall): Principal {
  const principal = findPrincipal(call);
  if (principal !== undefined) return principal;
  throw noPrincipal("Put requireKey(verifier, …) last into the server's interceptors, after those that copy metadata");
}

/** The caller; undefined if the call came without a key, which `anonymous` methods allow. */
export function findPrincipal({ metadata }: ServerCall): Principal | undefined {
  return (metadata as Marked)[PRINCIPAL];
}

/** Stores the caller in the metadata of the call. */
export function setPrincipal(metadata: Metadata, principal: Principal | undefined): void {
  Object.defineProperty(metadata, PRINCIPAL, { value: principal, configurable: true });
}
