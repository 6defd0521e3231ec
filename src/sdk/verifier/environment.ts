import { fromFile, type KeySource } from "../attach/key-source.ts";
import { VerifierWarning } from "./verifier-warning.ts";

/** The settings in the environment: the address of Claviger, and the key of this verifier. */
export interface VerifierEnvironment {
  readonly url: string | undefined;
  readonly token: string | undefined;
  /** The file with the key. */
  readonly tokenFile: string | undefined;
}

/** Reads `CLAVIGER_URL`, `CLAVIGER_TOKEN` and `CLAVIGER_TOKEN_FILE`. An empty variable counts as unset. */
export function readEnvironment(): VerifierEnvironment {
  const { CLAVIGER_URL, CLAVIGER_TOKEN, CLAVIGER_TOKEN_FILE } = process.env;
  return {
    url: CLAVIGER_URL || undefined,
    token: CLAVIGER_TOKEN || undefined,
    tokenFile: CLAVIGER_TOKEN_FILE || undefined,
  };
}

/** @throws Error if the environment sets no key, or two */
export function tokenOf(
  { token, tokenFile }: VerifierEnvironment,
  onWarning: (warning: VerifierWarning) => void,
): { readonly token: KeySource; readonly close?: () => void } {
  if (token !== undefined && tokenFile !== undefined) {
    throw new Error("CLAVIGER_TOKEN and CLAVIGER_TOKEN_FILE are both set. Unset one");
  }
  if (tokenFile !== undefined) {
    const onProblem = (error: Error) => onWarning(new VerifierWarning("CLAVIGER_TOKEN_MISSING", error.message, error));
    const file = fromFile(tokenFile, { onProblem });
    return { token: file, close: () => file.close() };
  }
  if (token === undefined) throw noToken();
  return { token };
}

export function noToken(): Error {
  return new Error(
    "createVerifier: token is missing. Pass a key with the scope claviger:verify, or set CLAVIGER_TOKEN or CLAVIGER_TOKEN_FILE",
  );
}
