import type { Metadata } from "@grpc/grpc-js";
import { noPrincipal, type Principal } from "../protect/principal.ts";

/** Where `requireKey` puts whoever calls: the metadata is the one object that interceptors and handlers share. */
const PRINCIPAL: unique symbol = Symbol("claviger principal");

interface Marked extends Metadata {
  [PRINCIPAL]?: Principal;
}

/** The part of grpc-js' calls, of all four kinds, that is needed here. */
interface ServerCall {
  readonly metadata: Metadata;
}

/**
 * Whoever makes this call.
 *
 * @example const { key } = principalOf(call); // in a handler: key.id, key.owner, key.scopes, …
 * @throws Error if the call was let in without a key, or no `requireKey` stands before the handler
 */
export function principalOf(call: ServerCall): Principal {
  const principal = findPrincipal(call);
  if (principal !== undefined) return principal;
  throw noPrincipal("Put requireKey(verifier, …) last into the server's interceptors, after those that copy metadata");
}

/** Whoever makes this call; undefined if it came without a key, which `anonymous` methods allow. */
export function findPrincipal({ metadata }: ServerCall): Principal | undefined {
  return (metadata as Marked)[PRINCIPAL];
}

/** Marks the call that this metadata belongs to. */
export function setPrincipal(metadata: Metadata, principal: Principal | undefined): void {
  Object.defineProperty(metadata, PRINCIPAL, { value: principal, configurable: true });
}
