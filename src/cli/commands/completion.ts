import { Argument, type Command } from "commander";
import { completionScript, SHELLS, type ShellName } from "../completion-script.ts";
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
