import { type Command, Option } from "commander";
import type { ServerConfig } from "../../server/config/config.ts";
import { describeSetting, SETTINGS, type Setting } from "../../server/config/settings.ts";
import { usageError } from "../cli-error.ts";
import type { Shell } from "../shell.ts";

/** The values of the flags of the server's settings, under commander's names for them. */
export type SettingsOptions = Readonly<Record<string, unknown>>;

/** Which of the server's settings a command needs. */
export interface NeededSettings {
  readonly settings: readonly Setting[];
  /** Whether keys in Postgres are minted or checked, so that the root secrets must be known. */
  readonly needsRootSecrets: boolean;
}

/** Every setting: for `serve`. */
export const ALL_SETTINGS: NeededSettings = { settings: SETTINGS, needsRootSecrets: true };

/** The settings needed to change the schema: no secret of any key. */
export const SCHEMA_SETTINGS: NeededSettings = {
  settings: named("DATABASE_URL", "CLAVIGER_LEASE_DATABASE_URL", "CLAVIGER_DATA_DIR"),
  needsRootSecrets: false,
};

/** The settings needed to work on the keys or the audit log in the database itself. */
export const DATABASE_SETTINGS: NeededSettings = {
  settings: [
    ...SCHEMA_SETTINGS.settings,
    ...named("CLAVIGER_ROOT_SECRETS", "CLAVIGER_ROOT_SECRETS_FILE", "CLAVIGER_POLICY", "CLAVIGER_LOG_LEVEL"),
  ],
  needsRootSecrets: true,
};

function named(...variables: readonly string[]): Setting[] {
  return SETTINGS.filter(({ variable }) => variables.includes(variable));
}

/** Adds a flag for each of the settings that has one. */
export function addSettingsOptions(command: Command, { settings }: NeededSettings): Command {
  for (const setting of settings) {
    const { variable, flag } = setting;
    if (flag) command.addOption(new Option(flag, `${describeSetting(setting)} [${variable}]`));
  }
  return command;
}

/**
 * Reads the server's configuration: flags before variables. Settings that the command does not need are not read, so
 * that their mistakes do not stop it.
 *
 * @throws CliError that names the wrong flag, or ConfigError that names the wrong variable, and the right form
 */
export async function readConfig(
  shell: Shell,
  options: SettingsOptions,
  { settings, needsRootSecrets }: NeededSettings,
): Promise<ServerConfig> {
  // Loaded here, so that commands that talk to a server start without it.
  const [{ loadConfig }, { ConfigError }] = await Promise.all([
    import("../../server/config/config.ts"),
    import("../../server/startup-error.ts"),
  ]);
  const isNeeded = (name: string) => settings.some(({ variable }) => name === variable || name === `${variable}_FILE`);
  const own = Object.entries(shell.environment).filter(([name]) => settings === SETTINGS || isNeeded(name));
  try {
    return await loadConfig(withFlags(Object.fromEntries(own), options), { needsRootSecrets });
  } catch (error) {
    const flag = error instanceof ConfigError ? flagGiven(error.setting, options) : undefined;
    if (flag === undefined || !(error instanceof ConfigError)) throw error;
    throw usageError(error.message.replace(error.setting, flag));
  }
}

/** A flag replaces its variable in both spellings, `X` and `X_FILE`: side by side they would be a contradiction. */
function withFlags(environment: Shell["environment"], options: SettingsOptions): Shell["environment"] {
  const result = { ...environment };
  for (const { variable, flag } of SETTINGS) {
    const value = flag ? valueGiven(flag, options) : undefined;
    if (value === undefined) continue;
    delete result[variable.endsWith("_FILE") ? variable.slice(0, -"_FILE".length) : `${variable}_FILE`];
    result[variable] = value;
  }
  return result;
}

/** The value of a setting as it was given, secrets masked, and its source. */
export function shownSetting(
  { variable, secret, isJson, default: standard }: Setting,
  environment: Shell["environment"],
  options: SettingsOptions,
): { readonly value: string; readonly source: string } {
  const given = withFlags(environment, options);
  const value = given[variable]?.trim() ?? "";
  const file = (secret && given[`${variable}_FILE`]?.trim()) || (isJson && value.startsWith("@") && value.slice(1));
  const flag = flagGiven(variable, options);
  const source = flag === undefined ? "environment" : `flag ${flag}`;
  if (file) return { value: secret ? MASKED : value, source: `file ${file}` };
  if (value === "") return { value: standard, source: "default" };
  return { value: secret ? MASKED : value, source };
}

const MASKED = "[redacted]";

/** The flag of a setting, if the command line has it. */
function flagGiven(setting: string, options: SettingsOptions): string | undefined {
  const flag = SETTINGS.find(({ variable }) => variable === setting)?.flag;
  return flag !== undefined && valueGiven(flag, options) !== undefined ? flag.replace(/ .*/, "") : undefined;
}

function valueGiven(flag: string, options: SettingsOptions): string | undefined {
  const value = options[new Option(flag).attributeName()];
  return typeof value === "string" ? value : undefined;
}
