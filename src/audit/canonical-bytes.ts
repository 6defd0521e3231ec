import canonicalize from "canonicalize";
import type { AuditEvent } from "../keys/audit-event.ts";

/** The event as the bytes that are signed and hashed: RFC 8785 canonical JSON, which survives storage as jsonb. */
export function canonicalBytes(event: AuditEvent): Buffer {
  const { id, time, actor, action, outcome, keyId, owner, requestId, details } = event;
  const fields = { id, time: time.toISOString(), actor, action, outcome, keyId, owner, requestId, details };
  return Buffer.from(canonicalize(fields) ?? "");
}
