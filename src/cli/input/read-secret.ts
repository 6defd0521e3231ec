import { createInterface } from "node:readline";
import { Writable } from "node:stream";
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
