import { constants, type ServerHttp2Stream } from "node:http2";
import type { Writable } from "node:stream";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import type { HttpRequest, HttpResponse } from "./http-messages.ts";

export interface Exchange {
  readonly req: HttpRequest;
  readonly res: HttpResponse;
}

/**
 * Writes a response, no faster than the client reads. When the client is gone it stops reading the body, which tells
 * the handler, and resolves. Rejects if the body fails.
 *
 * A response that ends before its first message leaves as one HEADERS frame with END_STREAM, trailers included (gRPC's
 * Trailers-Only): by gRFC A6 a client retries only those. Nothing is held back for it, as Connect's router itself
 * waits for the first message, or the end, of every response.
 */
export async function writeResponse(response: UniversalServerResponse, { req, res }: Exchange): Promise<void> {
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
  if ("stream" in res && !req.complete) stopSending(res.stream);
}

/** Told of bytes that came, or may come, on a connection beyond what a call is allowed: see `Port.credit`. */
export type Credit = (connection: object, bytes: number) => void;

/** Bytes that are dropped as they come of a body that nobody reads. */
const DROPPED_BYTES = 32 * 1024;
/** Its client may have sent two windows when it is held: Node (26) keeps one of what the router has begun to read. */
const HELD_BYTES = 64 * 1024;

/**
 * Tells a client that has its whole answer, and has sent nothing for a second, to stop sending (RFC 9113, 8.1). At once
 * would be too soon: nghttp2 drops the frames of a stream that are still queued when its reset is submitted.
 */
export function stopSending(stream: ServerHttp2Stream): void {
  stream.setTimeout(1000, () => {
    stream.close(constants.NGHTTP2_NO_ERROR);
    // Node (26) would wait for the end of a body that was read in part, for good, and a drain for that.
    setImmediate(() => stream.destroy());
  });
}

/**
 * Drops what comes of a body that nobody reads any more: with a rest that waits to be read Node (26) keeps the stream,
 * and the connection after it is closed, for good. To be called once the answer is written. Of a long rest not all: flow
 * control then holds its client, until it is told to stop, and what it has sent till then is no flood.
 */
export function dropBody(stream: ServerHttp2Stream, credit: Credit): void {
  let left = DROPPED_BYTES;
  const drop = (chunk: Buffer) => {
    const isFirst = left > 0;
    left -= chunk.length;
    if (left > 0) return;
    stream.pause();
    if (isFirst) credit(stream.session ?? stream, HELD_BYTES);
  };
  stream.removeAllListeners("data").on("data", drop).resume();
}

/** The same for a request, which would go on keeping what comes on its stream. */
export function dropRest(req: HttpRequest, credit: Credit): void {
  if ("stream" in req && !req.complete) dropBody(req.stream, credit);
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
