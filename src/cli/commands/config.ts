import type { Command } from "commander";
import { SETTINGS } from "../../server/config/settings.ts";
import { addExamples } from "../input/server-options.ts";
import {
  ALL_SETTINGS,
  addSettingsOptions,
  readConfig,
  type SettingsOptions,
  shownSetting,
} from "../input/settings-options.ts";
import { printJson, printLine, warnLine } from "../output/print.ts";
import { printable } from "../output/printable.ts";
import { formatTable } from "../output/table.ts";
import type { Shell } from "../shell.ts";

/** `claviger config` */
export function addConfig(command: Command, shell: Shell): void {
  addSettingsOptions(command, ALL_SETTINGS)
    .option("--json", "print each setting with its value and source as JSON, and errors too")
    .action(async (options: SettingsOptions) => {
      const { warnings } = await readConfig(shell, options, ALL_SETTINGS);
      const shown = SETTINGS.map((setting) => ({
        setting: setting.variable,
        ...shownSetting(setting, shell.environment, options),
      }));
      if (options.json === true) {
        printJson(shell, { settings: shown });
      } else {
        const rows = shown.map(({ setting, value, source }) => [setting, printable(value), printable(source)]);
        printLine(shell, formatTable([["SETTING", "VALUE", "SOURCE"], ...rows]));
      }
      for (const warning of warnings) warnLine(shell, warning);
    });
  addExamples(command, "claviger config", "claviger config --policy @policy.json --json").addHelpText(
    "after",
    "\nExit codes: 0 a server would start with these settings, 2 one of them is wrong",
  );
}
