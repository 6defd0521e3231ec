import type { IncomingHttpHeaders } from "node:http";

/** The part of a request of node:http, of node:http2's compatibility layer, or of Express that is needed here. */
export interface HttpRequest {
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: string[];
  /** Not with HTTP/2. */
  readonly headersDistinct?: Record<string, string[] | undefined>;
  readonly socket?: { readonly remoteAddress?: string | undefined } | undefined;
  /** Express: the address of whoever calls, by its setting `trust proxy`. */
  readonly ip?: string | undefined;
}

/** The part of a response that is needed here. */
export interface HttpResponse {
  statusCode: number;
  setHeader(name: string, value: string): unknown;
  end(body: string): unknown;
}
