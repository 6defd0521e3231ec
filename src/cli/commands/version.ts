import type { Command } from "commander";
import { addExamples } from "../input/server-options.ts";
import { printLine } from "../output/print.ts";
import type { Shell } from "../shell.ts";

/** `claviger version` */
export function addVersion(command: Command, shell: Shell): void {
  command
    .option("--json", "print the version as JSON")
    .action(({ json }: { readonly json?: true }) =>
      printLine(shell, json ? JSON.stringify({ version: shell.version }, null, 2) : shell.version),
    );
  addExamples(command, "claviger version", "claviger --version");
}
