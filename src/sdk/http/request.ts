import type { IncomingHttpHeaders } from "node:http";
import { API_KEY, AUTHORIZATION, type Credential, isLeftForHandler, readCredential } from "../protect/credential.ts";

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

/** Reads the key of a request, and takes it away wherever Node keeps it: `headers`, `headersDistinct`, `rawHeaders`. */
export function takeCredential(request: HttpRequest): Credential {
  const authorization = valuesOf(request, AUTHORIZATION);
  const credential = readCredential({ authorization, apiKey: valuesOf(request, API_KEY) });
  if (!isLeftForHandler(authorization)) remove(request, AUTHORIZATION);
  remove(request, API_KEY);
  return credential;
}

/** Of a second `authorization`, `headers` knows nothing, and whoever stands in front may have looked at that one. */
function valuesOf({ headers, headersDistinct }: HttpRequest, name: string): readonly string[] {
  const value = headersDistinct?.[name] ?? headers[name] ?? [];
  return typeof value === "string" ? [value] : value;
}

function remove({ headers, headersDistinct, rawHeaders }: HttpRequest, name: string): void {
  // Node makes both of rawHeaders when they are first read: read first, then cut there.
  delete headers[name];
  delete headersDistinct?.[name];
  for (let at = rawHeaders.length - 2; at >= 0; at -= 2)
    if (rawHeaders[at]?.toLowerCase() === name) rawHeaders.splice(at, 2);
}
