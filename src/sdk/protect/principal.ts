import { Verdict, type VerifiedKey } from "#gen/claviger/v1/key_verifier_pb.js";
import type { Verification } from "../verification.ts";

/** Whoever calls: what was decided when the call came, with the key. True for this call; it is not to be kept. */
export interface Principal extends Verification {
  readonly key: VerifiedKey;
}

/** Whether the verdict is that the key is good for the call. */
export function isPrincipal(verification: Verification): verification is Principal {
  return verification.verdict === Verdict.VALID && verification.key !== undefined;
}

/** For `principalOf`: nobody was let in where a handler relies on somebody. */
export function noPrincipal(where: string): Error {
  return new Error(
    `no key was verified for this call. ${where}; where calls without a key are let in, ask findPrincipal instead`,
  );
}

/** When the presented secret retires, as `claviger-secret-retires` says it; undefined if it does not. */
export function retirementOf(verification: Verification | undefined): string | undefined {
  return verification?.retireTime?.toISOString();
}
