import type { ExitCode } from "./exit-code.ts";
import { failureOf } from "./failure.ts";
import { printFailure, printFailureJson } from "./print.ts";
import { createProgram } from "./program.ts";
import { refuseSecretArguments } from "./secret-arguments.ts";
import type { Shell } from "./shell.ts";

/**
 * Runs one command, and shows its failure if it has one. Never throws.
 *
 * @param words the command line without the program: `["keys", "list"]`
 */
export async function run(words: readonly string[], shell: Shell): Promise<ExitCode> {
  try {
    refuseSecretArguments(words);
    await createProgram(shell).parseAsync(words, { from: "user" });
    return shell.exitCode;
  } catch (error) {
    const failure = failureOf(error);
    if (failure === undefined) return shell.exitCode;
    if (words.includes("--json")) printFailureJson(shell, failure);
    else printFailure(shell, failure);
    return failure.exitCode;
  }
}
