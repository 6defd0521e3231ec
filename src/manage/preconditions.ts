import { ClavigerError } from "../keys/errors.ts";
import { etagOf, type KeyRecord } from "../keys/key.ts";
import type { ManageDeps } from "./deps.ts";

/** `KEY_REVOKED` for a revoked key. */
export function requireUnrevoked(key: KeyRecord): void {
  if (key.revokeTime === null) return;
  throw new ClavigerError("KEY_REVOKED", `key ${key.id} is revoked, for good. Create a new key`, {
    metadata: { key_id: key.id },
  });
}

/** `ETAG_MISMATCH` if the caller has seen another state of the key. An empty `etag` accepts any state. */
export function requireEtag(key: KeyRecord, etag: string): void {
  if (etag === "" || etag === etagOf(key)) return;
  throw new ClavigerError("ETAG_MISMATCH", `key ${key.id} has changed since it was read. Read it again, then retry`, {
    metadata: { key_id: key.id, etag: etagOf(key) },
  });
}

/** `LIMITER_NOT_CONFIGURED` if no limiter counts for every node. */
export function requireLimiter({ canLimit }: Pick<ManageDeps, "canLimit">): void {
  if (canLimit) return;
  throw new ClavigerError(
    "LIMITER_NOT_CONFIGURED",
    "limits need Redis, which every node can count in. Set REDIS_URL on the servers, or leave limits out",
  );
}
