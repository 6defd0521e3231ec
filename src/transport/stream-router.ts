import { Http2ServerRequest, Http2ServerResponse, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type { ConnectHandler } from "./connect-adapter.ts";
import type { ReadBody } from "./fast-lane.ts";
import type { HttpHandler } from "./http-messages.ts";

export interface StreamRouterOptions {
  /** Serves a stream that nobody has read from. */
  readonly serve: HttpHandler;
  /** Serves one of which a part of the body, or all of it, has been read. */
  readonly resume: ConnectHandler;
}

/** Makes requests of HTTP/2 streams, as Node's own server does of those that nobody takes. */
export function createStreamRouter({ serve, resume }: StreamRouterOptions) {
  return (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, body?: ReadBody): void => {
    const req = new Http2ServerRequest(stream, headers, {}, []);
    const res = new Http2ServerResponse(stream);
    if (body === undefined) serve(req, res);
    // From the stream itself: a request of Node (26) does not set a stream going that was paused.
    else resume(req, res, whole(body, stream));
  };
}

async function* whole({ chunks, isAll }: ReadBody, rest: AsyncIterable<Buffer>): AsyncGenerator<Uint8Array> {
  yield* chunks;
  if (!isAll) yield* rest;
}
