import type { IncomingHttpHeaders } from "node:http";

const AUTHORIZATION = "authorization";

/**
 * Joins several different `authorization` values into one list (RFC 9110, 5.3). Node (26) keeps the first, on both HTTP
 * versions, and a proxy in front may have checked the last.
 */
export function joinAuthorization(headers: IncomingHttpHeaders, rawHeaders: readonly string[]): void {
  if (headers.authorization === undefined) return;
  const values = new Set<string>();
  for (let at = 0; at < rawHeaders.length; at += 2) {
    if (isNamed(rawHeaders[at], AUTHORIZATION)) values.add(rawHeaders[at + 1] ?? "");
  }
  if (values.size > 1) headers.authorization = [...values].join(", ");
}

/** Whether an HTTP/1.1 request has several `host` fields, which must be refused (RFC 9112, 3.2). */
export function hasSeveralHosts(rawHeaders: readonly string[]): boolean {
  let hosts = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) if (isNamed(rawHeaders[at], "host")) hosts += 1;
  return hosts > 1;
}

function isNamed(name: string | undefined, wanted: string): boolean {
  return name !== undefined && name.length === wanted.length && name.toLowerCase() === wanted;
}
