import { createHmac, timingSafeEqual } from "node:crypto";
import type { AuditEvent, ChainHead, Signature } from "../keys/audit-event.ts";
import type { RootKeys } from "../keys/root-secret.ts";
import { canonicalBytes } from "./canonical-bytes.ts";

/** `unknown`: made under a root that has been dropped since, as roots drain faster than the log. */
export type SignatureCheck = "good" | "bad" | "unknown";

/**
 * Signs events as they are written, so that a row which did not come from a Claviger that knows the root secrets is
 * never sealed, whoever wrote it; and heads of the chain, which are kept elsewhere.
 */
export class AuditSigner {
  readonly #roots: readonly [RootKeys, ...RootKeys[]];

  constructor(roots: readonly [RootKeys, ...RootKeys[]]) {
    this.#roots = roots;
  }

  sign(event: AuditEvent): Signature {
    return this.#make("event", canonicalBytes(event));
  }

  check(event: AuditEvent, signature: Signature): SignatureCheck {
    return this.#compare("event", canonicalBytes(event), signature);
  }

  signHead(head: ChainHead): Signature {
    return this.#make("head", headBytes(head));
  }

  checkHead(head: ChainHead, signature: Signature): SignatureCheck {
    return this.#compare("head", headBytes(head), signature);
  }

  #make(kind: string, bytes: Buffer): Signature {
    const [newest] = this.#roots;
    return { rootId: newest.id, mac: macOf(newest, kind, bytes) };
  }

  #compare(kind: string, bytes: Buffer, { rootId, mac }: Signature): SignatureCheck {
    const root = this.#roots.find((known) => known.id === rootId);
    if (root === undefined) return "unknown";
    const expected = macOf(root, kind, bytes);
    return mac.length === expected.length && timingSafeEqual(mac, expected) ? "good" : "bad";
  }
}

function macOf(root: RootKeys, kind: string, bytes: Buffer): Buffer {
  return createHmac("sha256", root.auditKey).update(`${kind}\0`).update(bytes).digest();
}

function headBytes({ sequence, hash }: ChainHead): Buffer {
  return Buffer.from(`${sequence}:${hash.toString("hex")}`);
}
