import { hkdfSync } from "node:crypto";

/** The keys derived from one root secret (RFC 5869 HKDF-SHA-256, one label each). */
export interface RootKeys {
  /** 16 hex digits that name the root in storage and between nodes. They reveal nothing of the secret. */
  readonly id: string;
  readonly tagKey: Buffer;
  readonly pepper: Buffer;
  readonly pageTokenKey: Buffer;
  readonly auditKey: Buffer;
  /** Signs messages on the change bus. */
  readonly busKey: Buffer;
  /** Signs the proofs with which agents report usage of a secret that they received. */
  readonly usageProofKey: Buffer;
}

/** Minimum length of a root secret in bytes. */
export const MIN_ROOT_BYTES = 32;

/** Derives the keys of a root secret of at least 32 bytes. */
export function deriveRootKeys(root: Uint8Array): RootKeys {
  const derive = (label: string, length: number) =>
    Buffer.from(hkdfSync("sha256", root, new Uint8Array(), `claviger/v1/${label}`, length));
  return {
    id: derive("root-id", 8).toString("hex"),
    tagKey: derive("tag", 32),
    pepper: derive("pepper", 32),
    pageTokenKey: derive("page-token", 32),
    auditKey: derive("audit", 32),
    busKey: derive("bus", 32),
    usageProofKey: derive("usage-proof", 32),
  };
}
