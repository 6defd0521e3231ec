import { type ContextKey, type ContextValues, createContextKey, createContextValues } from "@connectrpc/connect";

/** The address at the other end of the connection, as text. */
export const peerKey: ContextKey<string | undefined> = createContextKey<string | undefined>(undefined, {
  description: "address of the peer",
});

/** The part of a request of node:http or node:http2 that is needed here. */
interface NodeRequest {
  readonly socket?: { readonly remoteAddress?: string | undefined } | undefined;
}

/**
 * Tells `requireKey` where calls come from, which Connect's adapters for Node do not: without it keys that are bound to
 * addresses are denied.
 *
 * @param values to add the address to. Default: new ones
 * @example connectNodeAdapter({ routes, interceptors: [requireKey(verifier)], contextValues: (req) => peerValues(req) })
 */
export function peerValues(request: NodeRequest, values: ContextValues = createContextValues()): ContextValues {
  return values.set(peerKey, request.socket?.remoteAddress);
}
