import type { Command } from "commander";
import { addExamples } from "./examples.ts";
import { printLine } from "./print.ts";
import { addSettingsOptions, DATABASE_SETTINGS, readConfig, type SettingsOptions } from "./settings-options.ts";
import type { Shell } from "./shell.ts";
import { formatTable } from "./table.ts";

/** `claviger nodes` */
export function addNodes(command: Command, shell: Shell): void {
  addSettingsOptions(command, DATABASE_SETTINGS)
    .option("--json", "print JSON")
    .action(async (options: SettingsOptions) => {
      const config = await readConfig(shell, options, DATABASE_SETTINGS);
      const { listNodes } = await import("../server/nodes.ts");
      const nodes = await listNodes(config);
      if (options.json) {
        printLine(shell, JSON.stringify({ nodes }, null, 2));
        return;
      }
      const rows = nodes.map((node) => [
        node.address,
        node.state,
        `${node.termMs} ms`,
        `${node.silentMs} ms ago`,
        String(node.lagRevisions),
        node.epoch.slice(0, 8),
      ]);
      printLine(shell, formatTable([["ADDRESS", "LEASE", "TERM", "RENEWED", "LAG", "EPOCH"], ...rows]));
    });
  addExamples(command, "DATABASE_URL=postgres://… claviger nodes").addHelpText(
    "after",
    "\nReads the database itself, with the server's settings; an embedded one only while its server is stopped.",
  );
}
