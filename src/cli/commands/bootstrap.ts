import type { Command } from "commander";
import { addExamples } from "../input/server-options.ts";
import { addSettingsOptions, DATABASE_SETTINGS, readConfig, type SettingsOptions } from "../input/settings-options.ts";
import { noteLine, printLine } from "../output/print.ts";
import type { Shell } from "../shell.ts";

/** `claviger bootstrap` */
export function addBootstrap(command: Command, shell: Shell): void {
  addSettingsOptions(command, DATABASE_SETTINGS)
    .option("--json", "print the key's id and its secret as JSON, and errors too")
    .action(async (options: SettingsOptions) => {
      const config = await readConfig(shell, options, DATABASE_SETTINGS);
      const { bootstrapAdmin } = await import("../../server/bootstrap.ts");
      const { keyId, secret } = await bootstrapAdmin(config);
      if (options.json === true) {
        printLine(shell, JSON.stringify({ keyId, secret: secret.reveal() }, null, 2));
        return;
      }
      printLine(shell, `admin key: ${secret.reveal()}`);
      noteLine(shell, `shown this once; its key id is ${keyId}`);
    });
  addExamples(
    command,
    "DATABASE_URL=postgres://… CLAVIGER_ROOT_SECRETS=… claviger bootstrap",
    "claviger bootstrap --json | jq -r .secret > admin-key",
  );
}
