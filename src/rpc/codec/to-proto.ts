import { create, type DescMessage, type MessageInitShape, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { durationFromMs, type Timestamp, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type AuditEvent as AuditEventMessage, AuditEventSchema, AuditOutcome } from "#gen/claviger/v1/audit_pb.js";
import {
  ActorKind,
  type Actor as ActorMessage,
  ActorSchema,
  Environment,
  type Key as KeyMessage,
  KeySchema,
  KeyState,
  type LimitsSchema,
  RevocationReason,
  type RevocationReceiptSchema,
  SecretState,
  type SecretVersion as SecretVersionMessage,
  SecretVersionSchema,
} from "#gen/claviger/v1/key_pb.js";
import type { FoundKey } from "../../keys/cached-secret.ts";
import { type Actor, etagOf, type KeyRecord, type KeyView, type SecretRecord } from "../../keys/key.ts";
import { keyState, secretState } from "../../keys/lifecycle.ts";
import type { Limits } from "../../keys/limits.ts";
import type { SealedEvent } from "../../manage/list-audit-events.ts";
import type { Receipt } from "../../manage/steps/settle.ts";
import { type OnLeftOut, shownKey, shownMs } from "./shown-key.ts";

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

/** The fields that a key shares with a verified key. */
export function identityToProto(key: FoundKey, onLeftOut: OnLeftOut) {
  const { metadata, ...shown } = shownKey(key, onLeftOut);
  return {
    id: key.id,
    owner: key.owner,
    displayName: key.displayName,
    environment: ENVIRONMENTS[key.environment],
    ...shown,
    ...(metadata === undefined ? {} : { metadata: { ...metadata } }),
  };
}

/** A key as it is shown. */
export function keyToProto(view: KeyView, onLeftOut: OnLeftOut): KeyMessage {
  const { key, secrets, now } = view;
  const current = secrets.find((secret) => secret.version === key.currentVersion);
  const lastUsedTime = lastUseOf(secrets);
  if (current === undefined) throw new Error(`key ${key.id} is shown without its current secret`);
  return create(KeySchema, {
    ...identityToProto(key, onLeftOut),
    allowedCidrs: key.allowedCidrs.map(String),
    disabled: key.disabled,
    ...(key.limits === null ? {} : { limits: limitsToProto(key.limits) }),
    ...(lastUsedTime === undefined ? {} : { lastUsedTime: timestampOf(lastUsedTime) }),
    state: KEY_STATES[keyState(key, current, now)],
    secrets: secrets.map((secret) => secretToProto(key, secret, now)),
    createTime: timestampOf(key.createTime),
    updateTime: timestampOf(key.updateTime),
    expireTime: timestampOf(current.expireTime),
    createdBy: actorToProto(key.createdBy),
    etag: etagOf(key),
    heldFields: [...key.held],
    ...(key.revokeTime === null ? {} : { revokeTime: timestampOf(key.revokeTime) }),
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
    createTime: timestampOf(secret.createTime),
    expireTime: timestampOf(secret.expireTime),
    ...(secret.retireTime === null ? {} : { retireTime: timestampOf(secret.retireTime) }),
    ...(secret.lastUsedTime ? { lastUsedTime: timestampOf(secret.lastUsedTime) } : {}),
  });
}

function lastUseOf(secrets: readonly SecretRecord[]): Date | undefined {
  const used = secrets.flatMap(({ lastUsedTime }) => (lastUsedTime ? [lastUsedTime] : []));
  return used.length === 0 ? undefined : new Date(Math.max(...used.map((time) => time.getTime())));
}

export function receiptToProto(receipt: Receipt): MessageInitShape<typeof RevocationReceiptSchema> {
  return {
    revision: BigInt(receipt.revision),
    effectiveTime: timestampOf(receipt.effectiveTime),
    confirmedVerifierCount: receipt.confirmedVerifiers,
    expiredVerifierCount: receipt.expiredVerifiers,
    barrierDuration: durationFromMs(Math.ceil(receipt.barrierMs)),
    revocationSetWritten: receipt.isInRevocationSet,
  };
}

export function actorToProto(actor: Actor): ActorMessage {
  const { kind, subject = "", keyId = "", address = "" } = actor;
  const texts = { subject: String(subject), keyId: String(keyId), address: String(address) };
  return create(ActorSchema, { kind: ACTOR_KINDS[kind] ?? ActorKind.UNSPECIFIED, ...texts });
}

/** Stored limits of another form, which only an operator's SQL can have written, are shown as none. */
function limitsToProto({ requestsPerSecond, burst, requestsPerDay }: Limits): MessageInitShape<typeof LimitsSchema> {
  const shown = (count: unknown) => (isInt32(count) ? count : 0);
  return { requestsPerSecond: shown(requestsPerSecond), burst: shown(burst), requestsPerDay: shown(requestsPerDay) };
}

function isInt32(value: unknown): value is number {
  return typeof value === "number" && (value | 0) === value;
}

function timestampOf(time: Date): Timestamp {
  return timestampFromMs(shownMs(time));
}

/** A page ends here even if it is short: clients refuse messages above 4 MiB. */
const PAGE_BYTES = 1024 * 1024;

export interface Page<Row> {
  readonly rows: readonly Row[];
  /** Whether rows remain after the last one. */
  readonly more: boolean;
  /** The token that goes on after a row. */
  readonly tokenAfter: (row: Row) => string;
  /**
   * Called with each row that cannot be shown, and the reason. The page leaves the row out, so that it can show the
   * others.
   */
  readonly onLeftOut: (row: Row, error: unknown) => void;
}

/** The messages of as many rows as fit into one page, at least one if it can be shown, and the token for the next page. */
export function pageToProto<Row, Schema extends DescMessage>(
  page: Page<Row>,
  schema: Schema,
  toProto: (row: Row) => MessageShape<Schema>,
): { readonly messages: MessageShape<Schema>[]; readonly nextPageToken: string } {
  const messages: MessageShape<Schema>[] = [];
  let bytes = 0;
  let last: Row | undefined;
  for (const row of page.rows) {
    try {
      const message = toProto(row);
      bytes += toBinary(schema, message).length;
      if (bytes > PAGE_BYTES && last !== undefined) return { messages, nextPageToken: page.tokenAfter(last) };
      messages.push(message);
    } catch (error) {
      page.onLeftOut(row, error);
    }
    last = row;
  }
  return { messages, nextPageToken: page.more && last !== undefined ? page.tokenAfter(last) : "" };
}

const OUTCOMES = { done: AuditOutcome.DONE, denied: AuditOutcome.DENIED } as const;

/** An event in its place in the chain. */
export function auditEventToProto({ sequence, hash, event }: SealedEvent): AuditEventMessage {
  const { time, actor, action, outcome, keyId, owner, requestId, details } = event;
  return create(AuditEventSchema, {
    sequence: BigInt(sequence),
    time: timestampFromMs(shownMs(time)),
    actor: actorToProto(actor),
    action,
    outcome: OUTCOMES[outcome],
    keyId,
    owner,
    requestId,
    details,
    hash: Uint8Array.from(hash),
  });
}
