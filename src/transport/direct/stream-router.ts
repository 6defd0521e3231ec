import { Http2ServerRequest, Http2ServerResponse, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type { ConnectHandler } from "../router/connect-adapter.ts";
import type { HttpHandler } from "../router/http-messages.ts";
import type { ReadBody } from "../router/request-body.ts";

export interface StreamRouterOptions {
  /** Serves a stream that was not read from. */
  readonly serve: HttpHandler;
  /** Serves one of which a part of the body, or all of it, has been read. */
  readonly resume: ConnectHandler;
}

/** Makes requests of HTTP/2 streams, as Node's own server does for streams without a listener. */
export function createStreamRouter({ serve, resume }: StreamRouterOptions) {
  return (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, body?: ReadBody): void => {
    const req = new Http2ServerRequest(stream, headers, {}, []);
    const res = new Http2ServerResponse(stream);
    if (body === undefined) serve(req, res);
    else resume(req, res, body);
  };
}
