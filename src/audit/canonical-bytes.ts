import canonicalize from "canonicalize";
import type { AuditEvent } from "../keys/audit-event.ts";

/** Encodes the event for signing and hashing: RFC 8785 canonical JSON, which survives storage as jsonb. */
export function canonicalBytes(event: AuditEvent): Buffer {
  const { id, time, actor, action, outcome, keyId, owner, requestId, details } = event;
  const fields = { id, time: time.toISOString(), actor, action, outcome, keyId, owner, requestId, details };
  return Buffer.from(canonicalize(fields) ?? "");
}
