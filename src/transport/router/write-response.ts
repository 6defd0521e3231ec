import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import type { HttpExchange } from "../http/exchange.ts";

/**
 * Writes a response, no faster than the client reads. When the client is gone it stops reading the body, which tells
 * the handler, and resolves. Rejects if the body fails.
 *
 * An error before the first message leaves as one HEADERS frame with END_STREAM, trailers included (gRPC's
 * Trailers-Only): by gRFC A6 a client retries only those. Nothing is held back for it, as Connect's router itself
 * waits for the first message, or the end, of every response.
 */
export async function writeResponse(response: UniversalServerResponse, exchange: HttpExchange): Promise<void> {
  const { status, header = [], trailer } = response;
  let begun = false;
  for await (const chunk of response.body ?? []) {
    if (exchange.isGone) return;
    if (!begun) exchange.respond(status, header, false);
    begun = true;
    if (!exchange.write(chunk)) await exchange.untilDrained();
  }
  if (exchange.isGone) return;
  if (!begun && trailer?.get("grpc-status") !== "0") {
    exchange.respond(status, [...header, ...(trailer ?? [])], true);
    return;
  }
  if (!begun) exchange.respond(status, header, false);
  exchange.end(trailer);
}
