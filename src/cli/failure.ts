import { CommanderError } from "commander";
import { ClavigerError } from "../keys/errors.ts";
import { ConfigError } from "../server/config-error.ts";
import { StartupError } from "../server/startup-error.ts";
import { CliError, usageError } from "./cli-error.ts";
import { EXIT } from "./exit-code.ts";

/** Turns whatever ended a command into what is shown; `undefined` if nothing failed (`--help`, `--version`). */
export function failureOf(error: unknown): CliError | undefined {
  if (error instanceof CliError) return error;
  if (error instanceof CommanderError) return usageFailure(error);
  if (error instanceof ConfigError) return usageError(error.message);
  if (error instanceof StartupError) {
    return new CliError({ message: error.message, exitCode: EXIT.refused, code: "STARTUP", cause: error });
  }
  // What works on the database itself may lose it at any moment.
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
  return usageError(`${withoutValues(error)}; --help shows what is possible`);
}

/** Commander repeats what it did not expect, which may be a secret. */
function withoutValues({ code, message }: CommanderError): string {
  const text = message
    .replace(/^error: /, "")
    .replace(/\.$/, "")
    .replace("\n(Did", " (did");
  if (code === "commander.excessArguments") return text.replace(/(but got \d+): .*$/s, "$1");
  if (code === "commander.unknownOption") return text.replace(/('-[^'=]*)=.*?'(?= \(did|$)/s, "$1'");
  return text;
}
