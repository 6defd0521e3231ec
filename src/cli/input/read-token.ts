import { readFile } from "node:fs/promises";
import { shownPath } from "../../keys/secret.ts";
import { usageError } from "../cli-error.ts";

/**
 * The credential to call with, from `CLAVIGER_TOKEN` or the file that `CLAVIGER_TOKEN_FILE` names. There is no flag
 * for it: arguments are seen by every process of the machine.
 *
 * @returns `undefined` if neither is set, or empty
 * @throws CliError that names the variable, never its value
 */
export async function readToken(
  environment: Readonly<Record<string, string | undefined>>,
): Promise<string | undefined> {
  const token = environment.CLAVIGER_TOKEN ?? "";
  const file = environment.CLAVIGER_TOKEN_FILE ?? "";
  if (token !== "" && file !== "") throw usageError("CLAVIGER_TOKEN and CLAVIGER_TOKEN_FILE are both set: unset one");
  if (file !== "") return headerValue((await readTokenFile(file)).trim(), "the file that CLAVIGER_TOKEN_FILE names");
  return token === "" ? undefined : headerValue(token.trim(), "CLAVIGER_TOKEN");
}

async function readTokenFile(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : "unknown error";
    throw usageError(`cannot read the file that CLAVIGER_TOKEN_FILE names (${code}): ${shownPath(file)}`);
  }
}

/** A credential as a header can carry it. Checked here because Node's own error would repeat the value. */
export function headerValue(token: string, source: string): string {
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw usageError(`${source} does not hold a credential: put a secret or a token into it, and nothing else`);
}
