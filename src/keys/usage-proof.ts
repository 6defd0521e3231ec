import { createHmac, timingSafeEqual } from "node:crypto";
import type { RootKeys } from "./root-secret.ts";

/** The subject of a proof: this caller received an entry for this secret of this key. */
export interface ProvenEntry {
  readonly callerId: string;
  readonly keyId: string;
  readonly version: number;
}

/**
 * A parsed proof. `unknown root`: it names a root secret that this process does not have, such as one that other nodes
 * received a moment ago. `claimedSecond` is then unchecked.
 */
export type ReadProof =
  | { readonly kind: "genuine"; readonly issuedSecond: number }
  | { readonly kind: "unknown root"; readonly claimedSecond: number }
  | { readonly kind: "false" };

const TIME_BYTES = 4;
const ROOT_BYTES = 4;
const MAC_BYTES = 16;
const PROOF_BYTES = TIME_BYTES + ROOT_BYTES + MAC_BYTES;
const FALSE: ReadProof = Object.freeze({ kind: "false" });

/**
 * Makes and checks the `usage_proof` of an entry: seconds since 1970, the beginning of the root's id, and an
 * HMAC-SHA-256 cut to 16 bytes over the caller, the key, the secret version and the time. Any node with the root can
 * check it, so that a report may go to another node than the one that sent the entry.
 */
export class UsageProofs {
  readonly #roots: readonly [RootKeys, ...RootKeys[]];

  /** Newest root first. The first makes proofs; all check them. */
  constructor(roots: readonly [RootKeys, ...RootKeys[]]) {
    this.#roots = roots;
  }

  issue(entry: ProvenEntry, second: number): Uint8Array {
    const [root] = this.#roots;
    const head = Buffer.alloc(TIME_BYTES + ROOT_BYTES);
    head.writeUInt32BE(second >>> 0);
    head.write(root.id, TIME_BYTES, ROOT_BYTES, "hex");
    return Buffer.concat([head, macOf(root, entry, head)]);
  }

  read(entry: ProvenEntry, proof: Uint8Array): ReadProof {
    if (proof.length !== PROOF_BYTES) return FALSE;
    const bytes = Buffer.from(proof.buffer, proof.byteOffset, proof.length);
    const head = bytes.subarray(0, TIME_BYTES + ROOT_BYTES);
    const second = head.readUInt32BE();
    const name = head.toString("hex", TIME_BYTES);
    const named = this.#roots.filter(({ id }) => id.startsWith(name));
    if (named.length === 0) return { kind: "unknown root", claimedSecond: second };
    const mac = bytes.subarray(head.length);
    return named.some((root) => timingSafeEqual(macOf(root, entry, head), mac))
      ? { kind: "genuine", issuedSecond: second }
      : FALSE;
  }
}

/** Ids contain no line break, so that no two entries have the same text. */
function macOf(root: RootKeys, { callerId, keyId, version }: ProvenEntry, head: Uint8Array): Buffer {
  return createHmac("sha256", root.usageProofKey)
    .update(head)
    .update(`${callerId}\n${keyId}\n${version}`)
    .digest()
    .subarray(0, MAC_BYTES);
}
