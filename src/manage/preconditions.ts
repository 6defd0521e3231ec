import { ClavigerError } from "../keys/errors.ts";
import { etagOf } from "../keys/etag.ts";
import type { KeyRecord } from "../keys/key.ts";

/** `KEY_REVOKED` for a key that has been revoked. */
export function requireUnrevoked(key: KeyRecord): void {
  if (key.revokeTime === null) return;
  throw new ClavigerError("KEY_REVOKED", `key ${key.id} is revoked, for good. Create a new key`, {
    metadata: { key_id: key.id },
  });
}

/** `ETAG_MISMATCH` if the caller has seen another state of the key; an empty `etag` asks for nothing. */
export function requireEtag(key: KeyRecord, etag: string): void {
  if (etag === "" || etag === etagOf(key)) return;
  throw new ClavigerError("ETAG_MISMATCH", `key ${key.id} has changed since it was read. Read it again, then retry`, {
    metadata: { key_id: key.id, etag: etagOf(key) },
  });
}
