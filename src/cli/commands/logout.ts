import type { Command } from "commander";
import { profileName, removeProfile } from "../input/profiles.ts";
import { addExamples } from "../input/server-options.ts";
import { noteLine, printText } from "../output/print.ts";
import type { Shell } from "../shell.ts";

/** `claviger logout` */
export function addLogout(command: Command, shell: Shell): void {
  command
    .option("--profile <name>", "which profile (default: CLAVIGER_PROFILE, or default)")
    .action(async ({ profile }: { readonly profile?: string }) => {
      const name = profileName(shell, profile);
      if (await removeProfile(shell, name)) {
        printText(shell, `profile '${name}' is removed; its key goes on working until it is revoked`);
      } else {
        noteLine(shell, `there is no profile '${name}'`);
      }
    });
  addExamples(command, "claviger logout", "claviger logout --profile staging");
}
