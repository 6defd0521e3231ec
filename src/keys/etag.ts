import type { KeyRecord } from "./key.ts";

/** Names the state that management calls can change (AIP-154): every change gives the key a new revision. */
export function etagOf(key: KeyRecord): string {
  return `r${key.revision.toString(36)}`;
}
