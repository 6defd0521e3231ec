import { type Command, Option } from "commander";
import { type CliError, usageError } from "../cli-error.ts";

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
