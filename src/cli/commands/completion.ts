import { Argument, type Command, type Option } from "commander";
import { addExamples } from "../input/server-options.ts";
import { printLine } from "../output/print.ts";
import type { Shell } from "../shell.ts";

/** `claviger completion` */
export function addCompletion(command: Command, shell: Shell, wholeProgram: () => Promise<Command>): void {
  command
    .addArgument(new Argument("<shell>", "which shell").choices(SHELLS))
    .action(async (name: ShellName) => printLine(shell, completionScript(name, await wholeProgram())));
  addExamples(
    command,
    "source <(claviger completion bash)    # in ~/.bashrc",
    "source <(claviger completion zsh)     # in ~/.zshrc, after compinit",
    "claviger completion fish > ~/.config/fish/completions/claviger.fish",
  );
}

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type ShellName = (typeof SHELLS)[number];

/** A script that completes the commands, flags and choices of `program`. The shell reads it once, at its start. */
export function completionScript(shell: ShellName, program: Command): string {
  const places = placesOf(program, "");
  switch (shell) {
    case "bash":
      return bashScript(places);
    case "zsh":
      return zshScript(places);
    case "fish":
      return fishScript(places);
  }
}

/** The words that can follow a command. */
interface Place {
  /** `keys/create`; empty for the program itself. */
  readonly path: string;
  /** Commands, flags and the choices of arguments. */
  readonly words: readonly Word[];
  readonly values: readonly Value[];
}

interface Word {
  readonly word: string;
  readonly description: string;
}

/** The values that can follow a flag. */
interface Value {
  readonly flags: readonly string[];
  readonly choices: readonly string[];
  readonly isFile: boolean;
}

function placesOf(command: Command, path: string): Place[] {
  const options = [...command.options, ...helpOf(command)].filter(({ hidden }) => !hidden);
  const children = command.commands.map((child) => ({ word: child.name(), description: child.description() }));
  const choices = command.registeredArguments.flatMap(({ argChoices = [] }) => argChoices);
  const place = {
    path,
    words: [
      ...children,
      ...choices.map((word) => ({ word, description: "" })),
      ...options.flatMap((option) => flagsOf(option).map((word) => ({ word, description: option.description }))),
    ],
    values: options.flatMap((option) => (option.required || option.optional ? [valueOfOption(option)] : [])),
  };
  const inner = command.commands.flatMap((child) =>
    placesOf(child, path === "" ? child.name() : `${path}/${child.name()}`),
  );
  return [place, ...inner];
}

function helpOf(command: Command): Option[] {
  return command
    .createHelp()
    .visibleOptions(command)
    .filter(({ long }) => long === "--help");
}

function flagsOf({ long, short }: Option): string[] {
  return [long, short].filter((flag): flag is string => flag !== undefined);
}

function valueOfOption(option: Option): Value {
  const isFile = /<(file|folder)>/.test(option.flags);
  return { flags: flagsOf(option), choices: option.argChoices ?? [], isFile };
}

/** The patterns of `case` for the flags of a place. */
function patterns({ path }: Place, { flags }: Value): string {
  return flags.map((flag) => `'${path} ${flag}'`).join("|");
}

/** Lines that find out, in bash and zsh alike, which command has been typed so far. */
function pathLines(places: readonly Place[]): string[] {
  const known = places
    .filter(({ path }) => path !== "")
    .map(({ path }) => `'${path.includes("/") ? path : `/${path}`}'`);
  return [
    `    case "$place/$word" in`,
    `      ${known.join("|")}) [ -z "$place" ] && place=$word || place=$place/$word ;;`,
    "    esac",
  ];
}

function bashScript(places: readonly Place[]): string {
  const reply = (words: readonly string[]) => `COMPREPLY=($(compgen -W '${words.join(" ")}' -- "$current"))`;
  const values = places.flatMap((place) =>
    place.values.map((value) => {
      const what = value.isFile ? 'COMPREPLY=($(compgen -f -- "$current"))' : reply(value.choices);
      return `    ${patterns(place, value)}) ${what}; return ;;`;
    }),
  );
  return [
    "# Completes claviger in bash: source <(claviger completion bash)",
    "_claviger() {",
    `  local current=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} place= word at`,
    "  for ((at = 1; at < COMP_CWORD; at++)); do",
    `    word=\${COMP_WORDS[at]}`,
    ...pathLines(places),
    "  done",
    '  case "$place $before" in',
    ...values,
    "  esac",
    '  case "$place" in',
    ...places.map(({ path, words }) => `    '${path}') ${reply(words.map(({ word }) => word))} ;;`),
    "  esac",
    "}",
    "complete -F _claviger claviger claviger.js",
  ].join("\n");
}

function zshScript(places: readonly Place[]): string {
  const values = places.flatMap((place) =>
    place.values.map((value) => {
      const none = "_message 'a value'";
      const choices = value.choices.length === 0 ? none : `compadd -- ${value.choices.join(" ")}`;
      return `    ${patterns(place, value)}) ${value.isFile ? "_files" : choices}; return ;;`;
    }),
  );
  const described = ({ word, description }: Word) => `'${word}:${quoted(description)}'`;
  return [
    "#compdef claviger claviger.js",
    "# Completes claviger in zsh: source <(claviger completion zsh), after compinit",
    "_claviger() {",
    `  local before=\${words[CURRENT-1]} place= word at`,
    "  local -a entries",
    "  for ((at = 2; at < CURRENT; at++)); do",
    `    word=\${words[at]}`,
    ...pathLines(places),
    "  done",
    '  case "$place $before" in',
    ...values,
    "  esac",
    '  case "$place" in',
    ...places.map(({ path, words }) => `    '${path}') entries=(${words.map(described).join(" ")}) ;;`),
    "  esac",
    "  _describe claviger entries",
    "}",
    'if [ "$funcstack[1]" = _claviger ]; then _claviger "$@"; else compdef _claviger claviger claviger.js; fi',
  ].join("\n");
}

function fishScript(places: readonly Place[]): string {
  const lines = places.flatMap(({ path, words, values }) => {
    const at = `-n '__claviger_at "${path}"'`;
    const valued = new Map(values.flatMap((value) => value.flags.map((flag) => [flag, value] as const)));
    return words.map(({ word, description }) => {
      const value = valued.get(word);
      const isLong = word.startsWith("--");
      const flag = isLong ? `-l ${word.slice(2)}` : word.startsWith("-") ? `-s ${word.slice(1)}` : `-a ${word}`;
      const takes = value === undefined ? "" : value.isFile ? " -r -F" : ` -x -a '${value.choices.join(" ")}'`;
      return `complete -c claviger ${at} ${flag}${takes} -d '${quoted(description)}'`;
    });
  });
  const known = places.filter(({ path }) => path !== "").map(({ path }) => (path.includes("/") ? path : `/${path}`));
  return [
    "# Completes claviger in fish: claviger completion fish > ~/.config/fish/completions/claviger.fish",
    "function __claviger_at",
    "  set -l place ''",
    "  for word in (commandline -opc)[2..-1]",
    `    contains -- "$place/$word" ${known.join(" ")}`,
    `    and set place (string trim -l -c / "$place/$word")`,
    "  end",
    '  test "$place" = "$argv[1]"',
    "end",
    "complete -c claviger -f",
    ...lines,
  ].join("\n");
}

/** For single quotes of zsh and fish, on one line. A colon would end a word of zsh's lists, an apostrophe the quotes. */
function quoted(description: string): string {
  return description.replaceAll("'", "’").replaceAll(":", " –").replace(/\s+/g, " ").replaceAll("\\", "");
}
