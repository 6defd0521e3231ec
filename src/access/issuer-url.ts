import { isLoopback } from "../system/addresses.ts";

/** The rule of `issuerUrl`, for messages. */
export const ISSUER_URL_RULE = "an https:// URL without user or fragment (http:// on a loopback address only)";

/** The URL if keys may be fetched from it: over TLS, or within this machine. Undefined otherwise. */
export function issuerUrl(text: string): URL | undefined {
  const url = URL.parse(text);
  if (url === null || url.username !== "" || url.password !== "" || url.hash !== "") return undefined;
  if (url.protocol === "https:") return url;
  return url.protocol === "http:" && isLoopback(url.hostname) ? url : undefined;
}
