/** What the environment says about Claviger: its address, and the key to call it with. */
export interface VerifierEnvironment {
  readonly url: string | undefined;
  readonly token: string | undefined;
  /** The file that has the key. */
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
