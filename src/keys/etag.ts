import type { KeyRecord } from "./key.ts";

/** Identifies the state that management calls can change (AIP-154). Every change gives the key a new revision. */
export function etagOf(key: KeyRecord): string {
  return `r${key.revision.toString(36)}`;
}
