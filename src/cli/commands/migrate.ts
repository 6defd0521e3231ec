import type { Command } from "commander";
import { addExamples } from "../input/server-options.ts";
import { addSettingsOptions, readConfig, SCHEMA_SETTINGS, type SettingsOptions } from "../input/settings-options.ts";
import { printLine } from "../output/print.ts";
import type { Shell } from "../shell.ts";

/** `claviger migrate` */
export function addMigrate(command: Command, shell: Shell): void {
  addSettingsOptions(command, SCHEMA_SETTINGS)
    .option("--json", "print how many migrations the schema has as JSON, and errors too")
    .action(async (options: SettingsOptions) => {
      const config = await readConfig(shell, options, SCHEMA_SETTINGS);
      const { migrateDatabase } = await import("../../server/operator.ts");
      const { applied } = await migrateDatabase(config);
      printLine(
        shell,
        options.json === true ? JSON.stringify({ applied }, null, 2) : `the schema is current (${applied} migrations)`,
      );
    });
  addExamples(command, "DATABASE_URL=postgres://… claviger migrate");
}
