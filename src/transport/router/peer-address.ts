import type { Http2Session, Http2Stream } from "node:http2";
import type { Socket } from "node:net";
import { withoutIpv4Prefix } from "../../system/addresses.ts";
import { networkOf } from "../../verify/network-of.ts";
import type { HttpRequest } from "./http-messages.ts";

/**
 * The address of the other end of the connection, as text; IPv4 also when the socket is a dual-stack one. Empty without
 * a socket, and when the connection ended before the call was handled.
 */
export function peerAddressOf(req: HttpRequest): string {
  return "stream" in req ? peerAddressOfStream(req.stream) : addressOf(req.socket);
}

/** The same, of an HTTP/2 stream. */
export function peerAddressOfStream(stream: Http2Stream): string {
  return addressOf(stream.session?.socket);
}

/** The networks that HTTP/2 sessions and HTTP/1.1 sockets come from. Read once: Node hands a session's socket out behind a proxy. */
export class ConnectionNetworks {
  readonly #known = new WeakMap<object, string>();

  of(connection: object): string {
    const known = this.#known.get(connection);
    if (known !== undefined) return known;
    const { socket = connection as Socket } = connection as Partial<Http2Session>;
    const network = networkOf(addressOf(socket));
    this.#known.set(connection, network);
    return network;
  }
}

function addressOf(socket: { readonly remoteAddress?: string | undefined } | undefined): string {
  return withoutIpv4Prefix(socket?.remoteAddress ?? "");
}
