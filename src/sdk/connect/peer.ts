import { type ContextKey, type ContextValues, createContextKey, createContextValues } from "@connectrpc/connect";

/** The address at the other end of the connection. */
export const peerKey: ContextKey<string | undefined> = createContextKey<string | undefined>(undefined, {
  description: "address of the peer",
});

/** The used part of a request of node:http or node:http2. */
interface NodeRequest {
  readonly socket?: { readonly remoteAddress?: string | undefined } | undefined;
}

/**
 * Passes the caller's address to `requireKey`, because Connect's adapters for Node do not. Without the address, keys that
 * are bound to addresses are denied.
 *
 * @param values to which the address is added. Default: new ones
 * @example connectNodeAdapter({ routes, interceptors: [requireKey(verifier)], contextValues: (req) => peerValues(req) })
 */
export function peerValues(request: NodeRequest, values: ContextValues = createContextValues()): ContextValues {
  return values.set(peerKey, request.socket?.remoteAddress);
}
