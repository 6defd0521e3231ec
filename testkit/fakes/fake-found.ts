import type { FoundSecret } from "../../src/keys/cached-secret.ts";
import { type CachedSecret, LONGEST_MS } from "../../src/keys/cached-secret.ts";
import type { KeyRecord, SecretRecord } from "../../src/keys/key.ts";
import { standingOf } from "../../src/verify/decide.ts";

/** The time of the read. */
export const NOW = new Date("2026-01-01T00:00:00Z");

/** A secret as storage returns it, valid for an hour; for tests. */
export function fakeFound(
  keyId: string,
  changes: {
    readonly key?: Partial<KeyRecord>;
    readonly secret?: Partial<SecretRecord>;
    readonly revision?: number;
  } = {},
): FoundSecret & { readonly key: KeyRecord; readonly secret: SecretRecord } {
  const key: KeyRecord = {
    ...{ id: keyId, owner: "o", displayName: "k", environment: "live", scopes: [], labels: {}, metadata: null },
    ...{ allowedCidrs: [], disabled: false, limits: null, held: [] },
    ...{ currentVersion: 1, ttlMs: 1, createTime: NOW, updateTime: NOW },
    ...{ createdBy: { kind: "system", subject: "", keyId: "", address: "" }, revokeTime: null, revokedBy: null },
    ...{ revokeReason: null, revokeNote: "", revision: 0, narrowedRevision: 0, settledRevision: 0 },
    ...changes.key,
  };
  const expireTime = new Date(NOW.getTime() + 3_600_000);
  const secret = { keyId, version: 1, hint: "", createTime: NOW, expireTime, retireTime: null, ...changes.secret };
  return { key, secret, now: NOW, revision: changes.revision ?? 0 };
}

/** The same secret, ready to be judged, as read when the cache was created. */
export function fakeCached(keyId: string, changes: Parameters<typeof fakeFound>[1] = {}): CachedSecret {
  const found = fakeFound(keyId, changes);
  const { owner, environment, scopes, allowedCidrs, limits } = found.key;
  const { version } = found.secret;
  const { revision } = found;
  const standing = standingOf(found);
  const named = { keyId, owner, version, standing, environment };
  const times = { sinceMonotonicMs: 0, sinceWallMs: 0, lastsMs: LONGEST_MS };
  return { ...times, ...named, scopes, allowedCidrs, limits, about: "", revision, counted: undefined };
}
