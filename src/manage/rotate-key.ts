import { actorOf, type Caller } from "../access/caller.ts";
import { requireGrantable } from "../access/permissions.ts";
import { ClavigerError } from "../keys/errors.ts";
import type { KeyRecord, KeyView, SecretRecord } from "../keys/key.ts";
import { endOfSecret, isExpired, isLive } from "../keys/lifecycle.ts";
import type { Secret } from "../keys/secret.ts";
import { findKey } from "../postgres/keys.ts";
import { lockOwner } from "../postgres/owners.ts";
import { countLiveSecrets, findSecret, insertSecret, retireSecret } from "../postgres/secrets.ts";
import type { Database } from "../postgres/storage.ts";
import { listKnownRoots } from "../postgres/verifiers.ts";
import type { ManageDeps } from "./deps.ts";
import { claimRequest } from "./steps/claim-request.ts";
import { keyNotFound, type Locked, lockKeyAndCaller, mayKnow } from "./steps/lock.ts";
import { after, chooseSpan, requireEtag, requirePlace, requireUnrevoked } from "./steps/preconditions.ts";
import { record } from "./steps/record.ts";
import { endsSoon, type Receipt, settle } from "./steps/settle.ts";
import { writeChange } from "./steps/write-change.ts";

export interface RotateKey {
  readonly keyId: string;
  /** Undefined for the default; 0 ends the current secret at once. */
  readonly graceMs: number | undefined;
  /** Undefined for the key's own term. */
  readonly ttlMs: number | undefined;
  readonly etag: string;
  /** Empty, or a UUID under which the caller creates at most one secret. */
  readonly requestId: string;
}

export interface Rotation {
  readonly view: KeyView;
  readonly secret: Secret;
  /** The previously current secret; undefined if it was dead already. */
  readonly retiring: SecretRecord | undefined;
  readonly receipt: Receipt | undefined;
}

/** Gives a key a new secret, which exists only in the answer, and ends the old one after its grace period. */
export async function rotateKey(deps: ManageDeps, caller: Caller, command: RotateKey): Promise<Rotation> {
  const { policy } = deps;
  const graceMs = chooseSpan("grace_period", command.graceMs, {
    default: policy.defaultGraceMs,
    max: policy.maxGraceMs,
  });
  const ttlMs =
    command.ttlMs === undefined ? undefined : chooseSpan("ttl", command.ttlMs, { default: 0, max: policy.maxTtlMs });
  const rotation = await deps.storage.transaction(async (transaction) => {
    await lockOwnerOf(transaction, caller, command.keyId);
    const held = await lockKeyAndCaller(transaction, command.keyId, { caller, permission: "claviger:keys.write" });
    const { key, now } = held;
    requireGrantable(held.caller, key.scopes);
    const version = key.currentVersion + 1;
    const { requestId, ...payload } = { ...command, graceMs, ttlMs: ttlMs ?? key.ttlMs };
    await claimRequest(transaction, caller, { method: "RotateKey", requestId, payload, keyId: key.id, version, now });
    requireUnrevoked(key);
    requireEtag(key, command.etag);

    const current = await findSecret(transaction, key.id, key.currentVersion);
    if (current === undefined) throw new Error(`key ${key.id} has lost its current secret`);
    const retiring = await retireCurrent(transaction, current, { now, end: after(now, graceMs) });
    await requireVersionPlace(transaction, key, policy.liveSecretsPerKey);
    if (isExpired(current, now)) await requirePlace(transaction, key, policy);

    const { secret, ...minted } = deps.keyring.mint(key.environment, deps.random, await listKnownRoots(transaction));
    const expireTime = after(now, ttlMs ?? key.ttlMs);
    const secretRow = { keyId: key.id, version, createTime: now, expireTime, retireTime: null, ...minted };
    const details = { version, expire_time: expireTime.toISOString(), grace_ms: graceMs };
    const { owner } = key;
    const happening = { action: "key.rotated", keyId: key.id, owner, time: now, details } as const;
    const before = [insertSecret(transaction, secretRow), ...record(transaction, { deps, caller }, [happening])];
    const narrows = retiring !== undefined && endsSoon(endOfSecret(retiring), now, policy);
    const change = { currentVersion: version };
    return writeChange(transaction, held, { change, narrows, before }).map((view) => {
      return { view, secret, retiring, narrows };
    });
  });
  const { id: keyId, owner, currentVersion: version } = rotation.view.key;
  deps.log.info({ event: "key.rotated", keyId, owner, version, actor: actorOf(caller) }, "key rotated");
  const { view, secret, retiring, narrows } = rotation;
  const receipt = await settle(deps, { ...view, changed: true });
  return { view, secret, retiring, receipt: narrows ? receipt : undefined };
}

/** All transactions lock owners before keys; the owner of a key never changes. */
async function lockOwnerOf(transaction: Database, caller: Caller, keyId: string): Promise<void> {
  const key = await findKey(transaction, keyId);
  if (key === undefined || !mayKnow(caller, key)) throw keyNotFound(keyId);
  await lockOwner(transaction, key.owner);
}

/** Never extends a lifetime: a secret that ends earlier keeps its end, and a dead one stays unchanged. */
async function retireCurrent(
  transaction: Database,
  current: SecretRecord,
  grace: Pick<Locked, "now"> & { readonly end: Date },
): Promise<SecretRecord | undefined> {
  if (!isLive(current, grace.now)) return undefined;
  const ownEnd = endOfSecret(current);
  const retireTime = new Date(Math.min(ownEnd.getTime(), grace.end.getTime()));
  await retireSecret(transaction, current, retireTime).send();
  return { ...current, retireTime };
}

async function requireVersionPlace(transaction: Database, key: KeyRecord, limit: number): Promise<void> {
  const live = await countLiveSecrets(transaction, key.id);
  if (live < limit) return;
  throw new ClavigerError(
    "VERSION_LIMIT_REACHED",
    `key ${key.id} has ${live} live secrets besides the new one, of ${limit} allowed in all. Retire one first, or rotate with a shorter grace_period`,
    { metadata: { key_id: key.id, limit: String(limit), secrets: String(live) } },
  );
}
