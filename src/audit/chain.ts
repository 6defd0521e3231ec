import { createHash } from "node:crypto";
import type { AuditEvent } from "../keys/audit-event.ts";
import { canonicalBytes } from "./canonical-bytes.ts";

/** What the first seal's hash is over, instead of a previous hash: 32 zero bytes. */
export const CHAIN_START: Buffer = Buffer.alloc(32);

/** SHA-256 over the previous hash, the place (8 bytes, big-endian) and the event. Changes with anything before it. */
export function sealHash(previous: Buffer, sequence: number, event: AuditEvent): Buffer {
  const place = Buffer.alloc(8);
  place.writeBigUInt64BE(BigInt(sequence));
  return createHash("sha256").update(previous).update(place).update(canonicalBytes(event)).digest();
}
