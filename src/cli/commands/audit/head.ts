import type { Command } from "commander";
import { addExamples } from "../../input/server-options.ts";
import {
  addSettingsOptions,
  DATABASE_SETTINGS,
  readConfig,
  type SettingsOptions,
} from "../../input/settings-options.ts";
import { noteLine, printLine } from "../../output/print.ts";
import type { Shell } from "../../shell.ts";

/** `claviger audit head` */
export function addAuditHead(command: Command, shell: Shell): void {
  addSettingsOptions(command, DATABASE_SETTINGS).action(async (options: SettingsOptions) => {
    const config = await readConfig(shell, options, DATABASE_SETTINGS);
    const { auditHead, headToJson } = await import("../../../server/operator.ts");
    const head = await auditHead(config);
    if (head === undefined) noteLine(shell, "the audit log is empty");
    else printLine(shell, headToJson(head));
  });
  addExamples(command, "claviger audit head > kept-head.json", "claviger audit verify --head kept-head.json");
}
