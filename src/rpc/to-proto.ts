import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  ActorKind,
  type Actor as ActorMessage,
  ActorSchema,
  Environment,
  type Key as KeyMessage,
  KeySchema,
  KeyState,
  RevocationReason,
  type RevocationReceiptSchema,
  SecretState,
  type SecretVersion as SecretVersionMessage,
  SecretVersionSchema,
} from "#gen/claviger/v1/key_pb.js";
import { etagOf } from "../keys/etag.ts";
import type { FoundKey } from "../keys/found-secret.ts";
import type { Actor, KeyRecord, KeyView, SecretRecord } from "../keys/key.ts";
import { keyState, secretState } from "../keys/state.ts";
import type { Receipt } from "../manage/receipt.ts";

export const ENVIRONMENTS = { live: Environment.LIVE, test: Environment.TEST } as const;

export const KEY_STATES = {
  active: KeyState.ACTIVE,
  disabled: KeyState.DISABLED,
  expired: KeyState.EXPIRED,
  revoked: KeyState.REVOKED,
} as const;

export const REVOCATION_REASONS = {
  compromised: RevocationReason.COMPROMISED,
  no_longer_used: RevocationReason.NO_LONGER_USED,
  owner_left: RevocationReason.OWNER_LEFT,
  policy: RevocationReason.POLICY,
  other: RevocationReason.OTHER,
} as const;

const SECRET_STATES = {
  current: SecretState.CURRENT,
  retiring: SecretState.RETIRING,
  retired: SecretState.RETIRED,
  expired: SecretState.EXPIRED,
  revoked: SecretState.REVOKED,
} as const;

const ACTOR_KINDS = {
  user: ActorKind.USER,
  service: ActorKind.SERVICE,
  holder: ActorKind.HOLDER,
  system: ActorKind.SYSTEM,
} as const;

/** What a key has in common with a verified key. */
export function identityToProto(key: FoundKey) {
  return {
    id: key.id,
    owner: key.owner,
    displayName: key.displayName,
    environment: ENVIRONMENTS[key.environment],
    scopes: [...key.scopes],
    labels: { ...key.labels },
    ...(key.metadata === null ? {} : { metadata: { ...key.metadata } }),
  };
}

/** A key as it is shown. */
export function keyToProto(view: KeyView): KeyMessage {
  const { key, secrets, now } = view;
  const current = secrets.find((secret) => secret.version === key.currentVersion);
  const lastUsedTime = lastUseOf(secrets);
  if (current === undefined) throw new Error(`key ${key.id} is shown without its current secret`);
  return create(KeySchema, {
    ...identityToProto(key),
    allowedCidrs: [...key.allowedCidrs],
    disabled: key.disabled,
    ...(key.limits === null ? {} : { limits: { ...key.limits } }),
    ...(lastUsedTime === undefined ? {} : { lastUsedTime: timestampFromDate(lastUsedTime) }),
    state: KEY_STATES[keyState(key, current, now)],
    secrets: secrets.map((secret) => secretToProto(key, secret, now)),
    createTime: timestampFromDate(key.createTime),
    updateTime: timestampFromDate(key.updateTime),
    expireTime: timestampFromDate(current.expireTime),
    createdBy: actorToProto(key.createdBy),
    etag: etagOf(key),
    heldFields: [...key.held],
    ...(key.revokeTime === null ? {} : { revokeTime: timestampFromDate(key.revokeTime) }),
    ...(key.revokedBy === null ? {} : { revokedBy: actorToProto(key.revokedBy) }),
    ...(key.revokeReason === null ? {} : { revokeReason: REVOCATION_REASONS[key.revokeReason] }),
    revokeNote: key.revokeNote,
  });
}

export function secretToProto(key: KeyRecord, secret: SecretRecord, now: Date): SecretVersionMessage {
  return create(SecretVersionSchema, {
    version: secret.version,
    hint: secret.hint,
    state: SECRET_STATES[secretState(key, secret, now)],
    createTime: timestampFromDate(secret.createTime),
    expireTime: timestampFromDate(secret.expireTime),
    ...(secret.retireTime === null ? {} : { retireTime: timestampFromDate(secret.retireTime) }),
    ...(secret.lastUsedTime ? { lastUsedTime: timestampFromDate(secret.lastUsedTime) } : {}),
  });
}

function lastUseOf(secrets: readonly SecretRecord[]): Date | undefined {
  const used = secrets.flatMap(({ lastUsedTime }) => (lastUsedTime ? [lastUsedTime] : []));
  return used.length === 0 ? undefined : new Date(Math.max(...used.map((time) => time.getTime())));
}

export function receiptToProto(receipt: Receipt): MessageInitShape<typeof RevocationReceiptSchema> {
  return {
    revision: BigInt(receipt.revision),
    effectiveTime: timestampFromMs(receipt.effectiveTime.getTime()),
    confirmedVerifierCount: receipt.confirmedVerifiers,
    expiredVerifierCount: receipt.expiredVerifiers,
    barrierDuration: durationFromMs(Math.ceil(receipt.barrierMs)),
    revocationSetWritten: receipt.isInRevocationSet,
  };
}

export function actorToProto(actor: Actor): ActorMessage {
  const { kind, subject, keyId, address } = actor;
  return create(ActorSchema, { kind: ACTOR_KINDS[kind], subject, keyId, address });
}
