import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { Writable } from "node:stream";
import { type Command, Option } from "commander";
import { shownPath } from "../../keys/secret.ts";
import { CliError, EXIT, usageError } from "../cli-error.ts";
import type { Shell } from "../shell.ts";

// Above the 4096 bytes that a server takes, so that its answer is the one that is seen.
const LONGEST_BYTES = 65_536;

/**
 * Reads a secret: on a terminal from a prompt that does not echo, otherwise all of standard input. A byte order mark and
 * white space around the secret are left out, as in key files.
 *
 * @throws CliError if there is no secret or standard input is too long to be one, or if Ctrl-C or Ctrl-D leaves the
 * prompt
 */
export async function readSecret(shell: Shell): Promise<string> {
  const isTerminal = shell.stdin.isTTY === true;
  const secret = (isTerminal ? await prompt(shell) : await readPiped(shell)).trim();
  if (secret !== "") return secret;
  throw usageError(isTerminal ? "no secret was typed: type it" : "standard input is empty: pipe in the secret");
}

async function readPiped({ stdin }: Shell): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stdin) {
    const bytes = Buffer.from(chunk);
    chunks.push(bytes);
    length += bytes.length;
    if (length > LONGEST_BYTES)
      throw usageError("standard input is no secret (more than 64 KiB): pipe in the secret alone");
  }
  return Buffer.concat(chunks).toString("utf8");
}

function prompt({ stdin, stderr }: Shell): Promise<string> {
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const reader = createInterface({ input: stdin, output: silent, terminal: true, historySize: 0 });
  stderr.write("secret (not shown): ");
  return new Promise<string>((resolve, reject) => {
    reader.once("line", resolve);
    reader.once("close", () => reject(interrupted()));
    reader.once("SIGINT", () => reader.close());
  }).finally(() => {
    reader.close();
    stderr.write("\n");
  });
}

function interrupted(): CliError {
  return new CliError({
    message: "no secret was given: nothing was done",
    exitCode: EXIT.interrupted,
    code: "INTERRUPTED",
  });
}

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

/** The shape of a secret of any Claviger, its brand and its end left open. */
const SECRET = /[a-z][a-z0-9]*_(?:live|test)_[0-9A-Za-z]{16}/;

/**
 * Refuses a command line that holds a secret anywhere, before anything can repeat it.
 *
 * @throws CliError that says where to put it
 */
export function refuseSecretArguments(words: readonly string[]): void {
  if (words.some((word) => SECRET.test(word) || word.startsWith("--secret="))) throw secretAsArgument();
}

/** Makes a command that reads a secret refuse anything that looks like an attempt to give it as an argument. */
export function refuseArguments(command: Command): Command {
  return command
    .addOption(new Option("--secret [secret]").hideHelp())
    .allowExcessArguments()
    .hook("preAction", (_, action) => {
      if (action.args.length > 0 || action.opts().secret !== undefined) throw secretAsArgument();
    });
}

/** The error for a secret given as an argument. */
export function secretAsArgument(): CliError {
  return usageError(
    "a secret is never an argument: pipe it in, as in `claviger verify < secret.txt`, or type it at the prompt. " +
      "If this was one, it is in your shell's history and was seen by every process of this machine: rotate it",
  );
}
