import { constants } from "node:http2";
import type { Writable } from "node:stream";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import type { HttpResponse } from "./http-messages.ts";

/**
 * Writes a response, no faster than the client reads. When the client is gone it stops reading the body, which tells
 * the handler, and resolves. Rejects if the body fails.
 *
 * A response that ends before its first message leaves as one HEADERS frame with END_STREAM, trailers included (gRPC's
 * Trailers-Only): by gRFC A6 a client retries only those. Nothing is held back for it, as Connect's router itself
 * waits for the first message, or the end, of every response.
 */
export async function writeResponse(response: UniversalServerResponse, res: HttpResponse): Promise<void> {
  const sink: Writable = "stream" in res ? res.stream : res;
  const isGone = () => sink.destroyed || sink.closed;
  let begun = false;
  for await (const chunk of response.body ?? []) {
    if (isGone()) return;
    if (!begun) writeHead(res, response, { endStream: false });
    begun = true;
    if (!sink.write(chunk)) await drainedOrClosed(sink);
  }
  if (isGone()) return;
  if (begun && response.trailer) {
    res.addTrailers(Object.fromEntries(response.trailer));
    sink.end();
  } else if (begun) {
    sink.end();
  } else {
    writeHead(res, response, { endStream: true });
  }
}

function writeHead(res: HttpResponse, response: UniversalServerResponse, { endStream }: { endStream: boolean }): void {
  const { status, trailer } = response;
  const header = Object.fromEntries([...(response.header ?? []), ...((endStream && trailer) || [])]);
  if ("stream" in res) {
    const waitForTrailers = !endStream && trailer !== undefined;
    res.stream.respond({ [constants.HTTP2_HEADER_STATUS]: status, ...header }, { endStream, waitForTrailers });
    return;
  }
  res.writeHead(status, header);
  if (endStream) res.end();
}

function drainedOrClosed(sink: Writable): Promise<void> {
  return new Promise((resolve) => {
    function done(): void {
      sink.off("drain", done).off("close", done);
      resolve();
    }
    sink.on("drain", done).on("close", done);
  });
}
