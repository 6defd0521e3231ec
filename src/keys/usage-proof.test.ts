import { describe, expect, it } from "vitest";
import { deriveRootKeys } from "./root-secret.ts";
import { UsageProofs } from "./usage-proof.ts";

const rootOf = (byte: number) => deriveRootKeys(new Uint8Array(32).fill(byte));
const [older, newer] = [rootOf(1), rootOf(2)];
const entry = { callerId: "key_caller", keyId: "key_a", version: 2 };
const SECOND = 1_780_000_000;

describe("a proof that a caller was given an entry", () => {
  it("is genuine on every process that has the root, whatever other roots that has", () => {
    const proof = new UsageProofs([newer]).issue(entry, SECOND);
    expect(proof.length).toBeLessThanOrEqual(24);
    for (const proofs of [new UsageProofs([newer]), new UsageProofs([older, newer])]) {
      expect(proofs.read(entry, proof)).toEqual({ kind: "genuine", issuedSecond: SECOND });
    }
  });

  it("is false for another caller, key or secret version, cut, or with any of its bytes changed", () => {
    const proofs = new UsageProofs([newer, older]);
    const proof = proofs.issue(entry, SECOND);
    for (const other of [{ callerId: "key_other" }, { keyId: "key_b" }, { version: 1 }]) {
      expect(proofs.read({ ...entry, ...other }, proof)).toEqual({ kind: "false" });
    }
    for (const cut of [0, 1, 23]) expect(proofs.read(entry, proof.subarray(0, cut))).toEqual({ kind: "false" });
    for (const [at, byte] of proof.entries()) {
      const changed = Uint8Array.from(proof);
      changed[at] = byte ^ 1;
      expect(proofs.read(entry, changed).kind).not.toBe("genuine");
    }
  });

  it("names a root that this process lacks, so that its report can wait for a process that has it", () => {
    const proof = new UsageProofs([newer]).issue(entry, SECOND);
    expect(new UsageProofs([older]).read(entry, proof)).toEqual({ kind: "unknown root", claimedSecond: SECOND });
  });
});
