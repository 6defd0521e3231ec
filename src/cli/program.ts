import { Command } from "commander";
import { usageError } from "./cli-error.ts";
import { COMMANDS, type Group, type Leaf, OTHER_NAMES } from "./command-tree.ts";
import { addExamples } from "./input/server-options.ts";
import type { Shell } from "./shell.ts";

const HELP = ["--help", "-h"];
/** Cells in a line of help that goes into a file or a pipe. */
const HELP_WIDTH = 80;
/** Cells of a description beside the longest flag: below these it is not wrapped. */
const LEAST_DESCRIPTION = 20;

/** A program, and the command line that it is to parse. */
export interface Program {
  readonly program: Command;
  readonly words: readonly string[];
}

/**
 * The program for one command line: only the commands that the line names are loaded, the others have a name and a
 * description. It throws `CommanderError` instead of printing an error or exiting.
 *
 * @throws CliError for a command that other tools have under another name
 */
export async function createProgram(shell: Shell, given: readonly string[]): Promise<Program> {
  const words = helpLast(given);
  const program = createRoot(shell);
  await addCommands(program, COMMANDS, { shell, isNamed: (name) => words.includes(name) });
  return { program, words: isKnown(words) ? words : words.filter((word) => !HELP.includes(word)) };
}

/** The program with every command loaded. */
export async function createWholeProgram(shell: Shell): Promise<Command> {
  const program = createRoot(shell);
  await addCommands(program, COMMANDS, { shell, isNamed: () => true });
  return program;
}

interface Loading {
  readonly shell: Shell;
  readonly isNamed: (name: string) => boolean;
}

async function addCommands(
  parent: Command,
  entries: Readonly<Record<string, Leaf | Group>>,
  loading: Loading,
): Promise<void> {
  for (const [name, entry] of Object.entries(entries)) {
    const command = parent.command(name).description(entry.description).helpCommand(false);
    if ("commands" in entry) {
      await addCommands(command, entry.commands, loading);
      addExamples(command, ...entry.examples);
    } else if (loading.isNamed(name)) {
      (await entry.load())(command, loading.shell, () => createWholeProgram(loading.shell));
    }
  }
}

/** `help keys create` and `keys help create` are `keys create --help`. */
function helpLast(words: readonly string[]): readonly string[] {
  const isGroup = "commands" in (entryOf(COMMANDS, words[0]) ?? {});
  if (words[0] === "help") return [...words.slice(1), "--help"];
  return isGroup && words[1] === "help" ? [...words.slice(0, 1), ...words.slice(2), "--help"] : words;
}

/**
 * Whether there is a command of these names. Where there is none, commander would answer `--help` with the help of the
 * group and exit with 0.
 */
function isKnown([first, second]: readonly string[]): boolean {
  if (first === undefined || first.startsWith("-")) return true;
  refuseOtherName(first, OTHER_NAMES, "");
  const entry = entryOf(COMMANDS, first);
  if (entry === undefined) return false;
  if (!("commands" in entry) || second === undefined || second.startsWith("-")) return true;
  refuseOtherName(second, entry.otherNames, `${first} `);
  return Object.hasOwn(entry.commands, second);
}

function refuseOtherName(name: string, otherNames: Readonly<Record<string, string>>, group: string): void {
  const right = entryOf(otherNames, name);
  if (right !== undefined) throw usageError(`unknown command '${name}': it is \`claviger ${group}${right}\` here`);
}

function entryOf<Value>(record: Readonly<Record<string, Value>>, name = ""): Value | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}

function createRoot(shell: Shell): Command {
  const program = new Command("claviger")
    .description("API keys for agents and developers")
    .version(shell.version, "-V, --version", "print the version")
    // Else `--version` of `keys retire` would be taken for the one above.
    .enablePositionalOptions()
    .helpCommand(false)
    .configureHelp({ subcommandTerm: (command) => command.name(), minWidthToWrap: LEAST_DESCRIPTION })
    .exitOverride()
    .configureOutput({
      writeOut: (text) => shell.stdout.write(text),
      writeErr: (text) => shell.stderr.write(text),
      getOutHelpWidth: () => shell.columns ?? HELP_WIDTH,
      getErrHelpWidth: () => shell.columns ?? HELP_WIDTH,
      outputError: () => {},
    });
  return addExamples(
    program,
    "claviger serve",
    "SECRET=$(claviger keys create --name demo --quiet)",
    'printf %s "$SECRET" | claviger verify',
    'printf %s "$SECRET" | claviger keys revoke --secret',
  ).addHelpText(
    "after",
    [
      "",
      "Environment:",
      "  CLAVIGER_URL         where the server is (default: http://127.0.0.1:4640)",
      "  CLAVIGER_TOKEN       the key to call with; CLAVIGER_TOKEN_FILE: a file of it",
      "  CLAVIGER_PROFILE     without them: which profile of `claviger login`",
      "                       (default: default)",
      "  NO_COLOR             no colours",
      "",
      "Exit codes: 0 OK or VALID, 1 another verdict, 2 usage, 3 refused by the server,",
      "            4 could not decide",
    ].join("\n"),
  );
}
