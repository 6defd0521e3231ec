import type * as http from "node:http";
import type * as http2 from "node:http2";

/** A request of either HTTP version. */
export type HttpRequest = http.IncomingMessage | http2.Http2ServerRequest;

/** A response of either HTTP version. */
export type HttpResponse = http.ServerResponse | http2.Http2ServerResponse;

/** Serves one request. Must not throw: no caller catches. */
export type HttpHandler = (req: HttpRequest, res: HttpResponse) => void;
