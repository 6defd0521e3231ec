import type { Command } from "commander";
import { addExamples } from "../input/server-options.ts";
import { addSettingsOptions, DATABASE_SETTINGS, readConfig, type SettingsOptions } from "../input/settings-options.ts";
import { noteLine, printLine } from "../output/print.ts";
import type { Shell } from "../shell.ts";

/** `claviger backup` */
export function addBackup(command: Command, shell: Shell): void {
  addSettingsOptions(command, DATABASE_SETTINGS)
    .argument("<file>", "where to write the archive, .tar.gz; an existing file is replaced when the new one is whole")
    .option("--json", "print the file and its size in bytes as JSON, and errors too")
    .action(async (file: string, options: SettingsOptions) => {
      const config = await readConfig(shell, options, DATABASE_SETTINGS);
      const { takeBackup } = await import("../../server/embedded/take-backup.ts");
      const bytes = await takeBackup(config, file);
      printLine(shell, options.json === true ? JSON.stringify({ file, bytes }, null, 2) : `${file}: ${bytes} bytes`);
      noteLine(shell, "the root secrets are not in it: keep a copy of them too, and in another place");
    });
  addExamples(command, "claviger backup keys.tar.gz", "claviger backup --data-dir /var/lib/claviger keys.tar.gz");
}
