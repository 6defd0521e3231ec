import { readFile, stat } from "node:fs/promises";
import { type Fetch, fetchText, MAX_KEYS_BYTES } from "./fetch-text.ts";
import type { IssuerConfig } from "./issuer-config.ts";
import { ISSUER_URL_RULE, issuerUrl } from "./issuer-url.ts";

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
