import { Verdict, type VerifiedKey } from "#gen/claviger/v1/key_verifier_pb.js";
import type { Verification } from "../verification.ts";

/** The caller: the verification of this call, with the key. It counts for this call only; do not keep it. */
export interface Principal extends Verification {
  readonly key: VerifiedKey;
}

/** Whether the key is good for the call. */
export function isPrincipal(verification: Verification): verification is Principal {
  return verification.verdict === Verdict.VALID && verification.key !== undefined;
}

/** The error of `principalOf` in a call without a verified key. */
export function noPrincipal(where: string): Error {
  return new Error(
    `no key was verified for this call. ${where}. Use findPrincipal where calls without a key are let in`,
  );
}

/** When the presented secret retires, in the form of `claviger-secret-retires`; undefined if it does not retire. */
export function retirementOf(verification: Verification | undefined): string | undefined {
  return verification?.retireTime?.toISOString();
}
