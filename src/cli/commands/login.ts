import { Code, ConnectError } from "@connectrpc/connect";
import type { Command } from "commander";
import { shownPath } from "../../keys/secret.ts";
import { serverUrl, withConnection } from "../connection.ts";
import { profileName, removeProfile, writeProfile } from "../input/profiles.ts";
import { headerValue, readSecret, refuseArguments } from "../input/read-secret.ts";
import { addExamples, addServerOptions, type ServerOptions } from "../input/server-options.ts";
import { noteLine, printLine, printText } from "../output/print.ts";
import type { Shell } from "../shell.ts";

interface LoginOptions extends ServerOptions {
  readonly profile?: string;
}

/** `claviger login` */
export function addLogin(command: Command, shell: Shell): void {
  refuseArguments(addServerOptions(command))
    .option("--profile <name>", "what to call it; later commands take it by CLAVIGER_PROFILE (default: default)")
    .action((options: LoginOptions) => login(shell, options));
  addExamples(
    command,
    "claviger login --url https://keys.example.com     # asks for the key",
    "claviger login --profile staging < key.txt",
    "CLAVIGER_PROFILE=staging claviger keys list",
  ).addHelpText(
    "after",
    [
      "",
      "The address and the key go into ~/.config/claviger/profiles/ (XDG_CONFIG_HOME),",
      "into a file that only you can read. CLAVIGER_TOKEN and CLAVIGER_TOKEN_FILE go",
      "before a profile. The key is only ever sent to the profile's address.",
    ].join("\n"),
  );
}

async function login(shell: Shell, options: LoginOptions): Promise<void> {
  const name = profileName(shell, options.profile);
  const url = serverUrl(options.url ?? shell.environment.CLAVIGER_URL);
  const token = headerValue(await readSecret(shell), "what was given");
  await withConnection(shell, { ...options, endpoint: { url, token } }, async ({ management }) => {
    // Any call shows whether the credential is accepted; what it may do is another question.
    await management.listKeys({ pageSize: 1 }).catch((error: unknown) => {
      if (!(error instanceof ConnectError) || error.code !== Code.PermissionDenied) throw error;
    });
  });
  const file = await writeProfile(shell, name, { url, token });
  const text = `logged in to ${url} as profile '${name}', kept in ${shownPath(file)}`;
  if (options.json) printLine(shell, JSON.stringify({ profile: name, url, file }, null, 2));
  else printText(shell, text);
}

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
