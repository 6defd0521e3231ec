import type { IncomingHttpHeaders } from "node:http";
import { type Credential, takeCredential as takeFrom } from "../protect/credential.ts";

/** The used part of a request of node:http, of node:http2's compatibility layer, or of Express. */
export interface HttpRequest {
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: string[];
  /** Undefined with HTTP/2. */
  readonly headersDistinct?: Record<string, string[] | undefined>;
  readonly socket?: { readonly remoteAddress?: string | undefined } | undefined;
  /** Express: the caller's address, by its setting `trust proxy`. */
  readonly ip?: string | undefined;
}

/** Reads the key of a request and removes it from `headers`, `headersDistinct` and `rawHeaders`. */
export function takeCredential(request: HttpRequest): Credential {
  return takeFrom({ valuesOf: (name) => valuesOf(request, name), remove: (name) => remove(request, name) });
}

/** `headers` lacks a second `authorization`, and a proxy in front may have checked that one. */
function valuesOf({ headers, headersDistinct }: HttpRequest, name: string): readonly string[] {
  const value = headersDistinct?.[name] ?? headers[name] ?? [];
  return typeof value === "string" ? [value] : value;
}

function remove({ headers, headersDistinct, rawHeaders }: HttpRequest, name: string): void {
  // Node derives both from rawHeaders at their first read, so that they are read before rawHeaders changes.
  delete headers[name];
  delete headersDistinct?.[name];
  for (let at = rawHeaders.length - 2; at >= 0; at -= 2)
    if (rawHeaders[at]?.toLowerCase() === name) rawHeaders.splice(at, 2);
}
