import { readFile, stat } from "node:fs/promises";
import { isLoopback } from "../system/addresses.ts";
import type { IssuerConfig } from "./issuer-config.ts";

/** The rule of `issuerUrl`, for messages. */
export const ISSUER_URL_RULE = "an https:// URL without user or fragment (http:// on a loopback address only)";

/** The URL if keys may be fetched from it: over TLS, or within this machine. Undefined otherwise. */
export function issuerUrl(text: string): URL | undefined {
  const url = URL.parse(text);
  if (url === null || url.username !== "" || url.password !== "" || url.hash !== "") return undefined;
  if (url.protocol === "https:") return url;
  return url.protocol === "http:" && isLoopback(url.hostname) ? url : undefined;
}

/** Maximum size of an issuer's keys. The rest of a larger answer is not read. */
export const MAX_KEYS_BYTES = 1024 * 1024;

/** The part of `fetch` that is needed. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/**
 * Fetches the body at `url`. Rejects unless the answer is a 200 of at most `MAX_KEYS_BYTES`. Does not follow redirects.
 */
export async function fetchText(url: URL, fetch: Fetch, signal: AbortSignal): Promise<string> {
  const response = await fetch(url.href, { headers: { accept: "application/json" }, redirect: "manual", signal });
  if (response.status !== 200) {
    await response.body?.cancel();
    throw new Error(`${url.href} answered ${response.status} instead of 200`);
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength;
    if (size > MAX_KEYS_BYTES) throw new Error(`${url.href} answered with more than ${MAX_KEYS_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** Loads the current text of the issuer's JWK Set (RFC 7517). Rejects with the problem. */
export async function loadKeys(config: IssuerConfig, fetch: Fetch, signal: AbortSignal): Promise<string> {
  switch (config.keys.kind) {
    case "url":
      return fetchText(config.keys.url, fetch, signal);
    case "file":
      return readKeysFile(config.keys.path, signal);
    case "discovery":
      return fetchText(await discover(config.issuer, config.keys.url, { fetch, signal }), fetch, signal);
  }
}

async function readKeysFile(path: string, signal: AbortSignal): Promise<string> {
  const { size } = await stat(path);
  if (size > MAX_KEYS_BYTES) throw new Error(`${path} has more than ${MAX_KEYS_BYTES} bytes`);
  return readFile(path, { encoding: "utf8", signal });
}

/** The `jwks_uri` of the issuer's document, read for each load, since it may change. */
async function discover(issuer: string, url: URL, how: { fetch: Fetch; signal: AbortSignal }): Promise<URL> {
  const document: unknown = JSON.parse(await fetchText(url, how.fetch, how.signal));
  const { issuer: named, jwks_uri: place } = Object(document) as Record<string, unknown>;
  if (named !== issuer) throw new Error(`${url.href} is the document of another issuer`);
  const keysUrl = typeof place === "string" ? issuerUrl(place) : undefined;
  if (keysUrl === undefined) throw new Error(`${url.href} has a jwks_uri that is not ${ISSUER_URL_RULE}`);
  return keysUrl;
}
