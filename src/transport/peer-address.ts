import type { HttpRequest } from "./http-messages.ts";

/**
 * The address of the other end of the connection, as text; IPv4 also when the socket is a dual-stack one. Empty when
 * the connection was gone before the call was looked at, and without a socket.
 */
export function peerAddressOf(req: HttpRequest): string {
  const socket = "stream" in req ? req.stream.session?.socket : req.socket;
  return socket?.remoteAddress?.replace(/^::ffff:(?=\d+\.)/i, "") ?? "";
}
