import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import canonicalize from "canonicalize";
import type { AuditEvent, ChainHead, Signature } from "../keys/audit-event.ts";
import type { AuditKey } from "./kept-roots.ts";

/**
 * `unknown`: the signature names a root secret that is neither configured nor vouched for by a configured one. Never
 * counts as genuine.
 */
export type SignatureCheck = "good" | "bad" | "unknown";

/**
 * Signs events when they are written, so that the sealer never seals a row that was written without the root secrets.
 * Also signs heads of the chain for copies outside the database.
 */
export class AuditSigner {
  readonly #newest: AuditKey;
  readonly #keys: ReadonlyMap<string, AuditKey>;

  /**
   * @param roots configured, newest first.
   * @param vouched kept keys of removed roots, which only check.
   */
  constructor(roots: readonly [AuditKey, ...AuditKey[]], vouched: readonly AuditKey[] = []) {
    this.#newest = roots[0];
    this.#keys = new Map([...vouched, ...roots].map((root) => [root.id, root]));
  }

  /** The root secrets whose signatures can be checked. */
  get rootIds(): readonly string[] {
    return [...this.#keys.keys()];
  }

  sign(event: AuditEvent): Signature {
    return this.#make("event", canonicalBytes(event));
  }

  /** `bad` also for a row that cannot be an event of Claviger, whatever root it names. */
  check(event: AuditEvent, signature: Signature): SignatureCheck {
    const bytes = canonicalBytesIfAny(event);
    return bytes === undefined ? "bad" : this.#compare("event", bytes, signature);
  }

  signHead(head: ChainHead): Signature {
    return this.#make("head", headBytes(head));
  }

  checkHead(head: ChainHead, signature: Signature): SignatureCheck {
    return this.#compare("head", headBytes(head), signature);
  }

  #make(kind: string, bytes: Buffer): Signature {
    return { rootId: this.#newest.id, mac: macOf(this.#newest, kind, bytes) };
  }

  #compare(kind: string, bytes: Buffer, { rootId, mac }: Signature): SignatureCheck {
    const root = this.#keys.get(rootId);
    if (root === undefined) return "unknown";
    const expected = macOf(root, kind, bytes);
    return mac.length === expected.length && timingSafeEqual(mac, expected) ? "good" : "bad";
  }
}

/** Undefined for a row that Claviger did not write: without a time, with infinite numbers, or nested too deeply. */
function canonicalBytesIfAny(event: AuditEvent): Buffer | undefined {
  try {
    return canonicalBytes(event);
  } catch {
    return undefined;
  }
}

function macOf(root: AuditKey, kind: string, bytes: Buffer): Buffer {
  return createHmac("sha256", root.auditKey).update(`${kind}\0`).update(bytes).digest();
}

function headBytes({ sequence, hash }: ChainHead): Buffer {
  return Buffer.from(`${sequence}:${hash.toString("hex")}`);
}

/** Encodes the event for signing and hashing: RFC 8785 canonical JSON, which survives storage as jsonb. */
export function canonicalBytes(event: AuditEvent): Buffer {
  const { id, time, actor, action, outcome, keyId, owner, requestId, details } = event;
  const fields = { id, time: time.toISOString(), actor, action, outcome, keyId, owner, requestId, details };
  return Buffer.from(canonicalize(fields) ?? "");
}

/** 32 zero bytes in place of a previous hash, for the first seal. */
export const CHAIN_START: Buffer = Buffer.alloc(32);

/** SHA-256 over the previous hash, the position (8 bytes, big-endian) and the event. Every earlier event changes it. */
export function sealHash(previous: Buffer, sequence: number, event: AuditEvent): Buffer {
  const place = Buffer.alloc(8);
  place.writeBigUInt64BE(BigInt(sequence));
  return createHash("sha256").update(previous).update(place).update(canonicalBytes(event)).digest();
}
