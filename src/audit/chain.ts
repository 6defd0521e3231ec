import { createHash } from "node:crypto";
import type { AuditEvent } from "../keys/audit-event.ts";
import { canonicalBytes } from "./canonical-bytes.ts";

/** 32 zero bytes in place of a previous hash, for the first seal. */
export const CHAIN_START: Buffer = Buffer.alloc(32);

/** SHA-256 over the previous hash, the position (8 bytes, big-endian) and the event. Every earlier event changes it. */
export function sealHash(previous: Buffer, sequence: number, event: AuditEvent): Buffer {
  const place = Buffer.alloc(8);
  place.writeBigUInt64BE(BigInt(sequence));
  return createHash("sha256").update(previous).update(place).update(canonicalBytes(event)).digest();
}
