import { createHmac, timingSafeEqual } from "node:crypto";
import type { AuditEvent, ChainHead, Signature } from "../keys/audit-event.ts";
import { canonicalBytes } from "./canonical-bytes.ts";
import type { AuditKey } from "./kept-roots.ts";

/** `unknown`: it names a root that is neither configured nor vouched for by one that is. Never taken for genuine. */
export type SignatureCheck = "good" | "bad" | "unknown";

/**
 * Signs events as they are written, so that a row which did not come from a Claviger that knows the root secrets is
 * never sealed, whatever wrote it; and heads of the chain, which are kept elsewhere.
 */
export class AuditSigner {
  readonly #newest: AuditKey;
  readonly #keys: ReadonlyMap<string, AuditKey>;

  /** `roots`: configured, newest first. `vouched`: kept of those that were dropped; they only check. */
  constructor(roots: readonly [AuditKey, ...AuditKey[]], vouched: readonly AuditKey[] = []) {
    this.#newest = roots[0];
    this.#keys = new Map([...vouched, ...roots].map((root) => [root.id, root]));
  }

  /** The roots whose signatures can be checked. */
  get rootIds(): readonly string[] {
    return [...this.#keys.keys()];
  }

  sign(event: AuditEvent): Signature {
    return this.#make("event", canonicalBytes(event));
  }

  /** `bad` also for what cannot be an event of Claviger's, whatever root it names. */
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

/** Undefined for a row that Claviger did not write: one with no time, with infinite numbers, or nested too deep. */
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
