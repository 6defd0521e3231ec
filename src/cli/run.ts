import { CommanderError } from "commander";
import { ClavigerError } from "../keys/errors.ts";
import { ConfigError, StartupError } from "../server/startup-error.ts";
import { CliError, EXIT, type ExitCode, usageError } from "./cli-error.ts";
import { refuseSecretArguments } from "./input/read-secret.ts";
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

/** Turns whatever ended a command into what is shown; `undefined` if nothing failed (`--help`, `--version`). */
export function failureOf(error: unknown): CliError | undefined {
  if (error instanceof CliError) return error;
  if (error instanceof CommanderError) return usageFailure(error);
  if (error instanceof ConfigError) return usageError(error.message);
  if (error instanceof StartupError) {
    return new CliError({ message: error.message, exitCode: EXIT.refused, code: "STARTUP", cause: error });
  }
  // A command on the database itself may lose it at any moment.
  if (error instanceof ClavigerError && error.reason === "STORAGE_UNAVAILABLE") {
    const reason = error.cause instanceof Error ? ` (${error.cause.message})` : "";
    const message = `${error.message}${reason}`;
    return new CliError({ message, exitCode: EXIT.undecided, code: error.reason, cause: error });
  }
  return new CliError({
    message: `a defect, please report it: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    exitCode: EXIT.undecided,
    code: "DEFECT",
    cause: error,
  });
}

function usageFailure(error: CommanderError): CliError | undefined {
  if (error.exitCode === 0) return undefined;
  if (error.code === "commander.help") return usageError("name a command: see above");
  const text = error.message
    .replace(/^error: /, "")
    .replace(/\.$/, "")
    .replace("\n(Did", " (did");
  return usageError(inPlainWords(error.code, text));
}

/** Longest value of a flag that an error repeats. */
const LONGEST_VALUE = 60;

/** Commander repeats what it did not expect, which may be a secret; and it calls flags by all their spellings. */
function inPlainWords(code: string, text: string): string {
  const help = "; --help shows what is possible";
  switch (code) {
    case "commander.invalidArgument": {
      const [, flags = "", value = "", says = ""] =
        /^option '([^']*)' argument '(.*)' is invalid\. (.*)$/s.exec(text) ?? [];
      if (flags !== "") return `${longFlag(flags)} '${value.slice(0, LONGEST_VALUE)}' is not valid. ${says}`;
      return text.replace(/^command-argument value '.*' is invalid for argument '([^']*)'\. /s, "<$1> is not valid. ");
    }
    case "commander.missingMandatoryOptionValue":
      return `${text.replace(/^.*'(.*)'.*$/s, (_, flags) => longFlag(flags))} is required${help}`;
    case "commander.optionMissingArgument":
      return `${text.replace(/^.*'(.*)'.*$/s, (_, flags) => longFlag(flags))} needs a value${help}`;
    case "commander.conflictingOption":
      return text.replace(/^option '([^']*)' cannot be used with option '([^']*)'$/, (_, one, other) => {
        return `${longFlag(one)} and ${longFlag(other)} exclude each other: give one of them`;
      });
    case "commander.excessArguments":
      return `${text.replace(/(but got \d+): .*$/s, "$1")}${help}`;
    case "commander.unknownOption":
      return `${text.replace(/('-[^'=]*)=.*?'(?= \(did|$)/s, "$1'")}${help}`;
    default:
      return `${text}${help}`;
  }
}

/** `-l, --label <key=value>` is `--label`. */
function longFlag(flags: string): string {
  return /--[\w-]+/.exec(flags)?.[0] ?? flags;
}
