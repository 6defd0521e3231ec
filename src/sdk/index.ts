/**
 * Verifies API keys of Claviger inside your own process.
 *
 * @packageDocumentation
 */
export { Environment } from "#gen/claviger/v1/key_pb.js";
export {
  Freshness,
  Verdict,
  VerdictSchema,
  type VerifiedKey,
  VerifiedKeySchema,
} from "#gen/claviger/v1/key_verifier_pb.js";
export { type FromFileOptions, fromFile, type KeyFile, type KeySource } from "./attach/key-source.ts";
export type { Principal } from "./protect/principal.ts";
export type { AskedEnvironment, Question, ReadyOptions, Verification, Verifier } from "./verification.ts";
export type { NodeOptions } from "./verifier/any-server.ts";
export { createVerifier, type VerifierOptions } from "./verifier/create-verifier.ts";
export { VerifierWarning, type WarningCode } from "./verifier/verifier-warning.ts";
