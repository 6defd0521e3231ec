import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type AuditEvent as AuditEventMessage, AuditEventSchema, AuditOutcome } from "#gen/claviger/v1/audit_pb.js";
import type { SealedEvent } from "../../manage/list-audit-events.ts";
import { shownMs } from "./shown-key.ts";
import { actorToProto } from "./to-proto.ts";

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
