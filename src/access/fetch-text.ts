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
