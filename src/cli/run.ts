import type { ExitCode } from "./cli-error.ts";
import { failureOf } from "./failure.ts";
import { refuseSecretArguments } from "./input/secret-arguments.ts";
import { printFailure, printFailureJson } from "./output/print.ts";
import { createProgram } from "./program.ts";
import type { Shell } from "./shell.ts";

/**
 * Runs one command, and shows its failure if it has one. Never throws.
 *
 * @param given the command line without the program: `["keys", "list"]`
 */
export async function run(given: readonly string[], shell: Shell): Promise<ExitCode> {
  try {
    refuseSecretArguments(given);
    const { program, words } = await createProgram(shell, given);
    await program.parseAsync(words, { from: "user" });
    return shell.exitCode;
  } catch (error) {
    const failure = failureOf(error);
    if (failure === undefined) return shell.exitCode;
    if (given.includes("--json")) printFailureJson(shell, failure);
    else printFailure(shell, failure);
    return failure.exitCode;
  }
}
