import { type Command, Option } from "commander";
import type { ServerConfig } from "../server/config.ts";
import { SETTINGS } from "../server/settings.ts";
import type { Shell } from "./shell.ts";

/** The values of the flags of the server's settings, under commander's names for them. */
export type SettingsOptions = Readonly<Record<string, unknown>>;

/** Adds a flag for each setting of the server that has one. */
export function addSettingsOptions(command: Command): Command {
  for (const { variable, flag, description } of SETTINGS) {
    if (flag) command.addOption(new Option(flag, `${description} [${variable}]`));
  }
  return command;
}

/**
 * Reads the server's configuration: flags before variables.
 *
 * @throws ConfigError that says which setting is wrong, and what is right
 */
export async function readConfig(shell: Shell, options: SettingsOptions): Promise<ServerConfig> {
  // Loaded here, so that commands that talk to a server start without it.
  const { loadConfig } = await import("../server/config.ts");
  return loadConfig(environmentWith(shell.environment, options));
}

/** A flag replaces its variable in both spellings, `X` and `X_FILE`: side by side they would be a contradiction. */
function environmentWith(environment: Shell["environment"], options: SettingsOptions): Shell["environment"] {
  const result = { ...environment };
  for (const { variable, flag } of SETTINGS) {
    const value = flag ? options[new Option(flag).attributeName()] : undefined;
    if (typeof value !== "string") continue;
    delete result[variable.endsWith("_FILE") ? variable.slice(0, -"_FILE".length) : `${variable}_FILE`];
    result[variable] = value;
  }
  return result;
}
