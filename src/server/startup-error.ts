/** The server, or a command that works on its database, cannot start; the message is complete and says what to do. */
export class StartupError extends Error {
  override readonly name = "StartupError";
}

/** A setting is wrong; the message names it, says what is wrong and what is right, and never shows a secret. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly setting: string;

  constructor(setting: string, problem: string) {
    super(`${setting} ${problem}`);
    this.setting = setting;
  }
}
