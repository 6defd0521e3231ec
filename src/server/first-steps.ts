import type { Secret } from "../keys/secret.ts";

export interface StartFacts {
  readonly url: string;
  /** How the command line is called here. */
  readonly command: string;
  /** Folder of the embedded database; undefined with Postgres. */
  readonly embedded: string | undefined;
  /** The first admin key, if this start made it. */
  readonly adminKey: Secret | undefined;
  /** The file that holds the first admin key; undefined if there is none. */
  readonly adminKeyFile: string | undefined;
  /** Whether an admin key was ever made. */
  readonly hasAdminKey: boolean;
}

/** The lines that a start shows: the server's address, the admin key the first time, and commands to paste. */
export function describeStart(facts: StartFacts): string[] {
  const { url, embedded, adminKey, command, hasAdminKey } = facts;
  return [
    ...(adminKey === undefined ? [] : [`admin key: ${adminKey.reveal()}`, "It is shown this once. Keep it safe."]),
    ...(embedded === undefined ? [] : [`keys are kept in ${embedded}; a power cut may undo the last changes`]),
    ...(embedded === undefined ? [] : commands(facts)),
    ...(hasAdminKey ? [] : [`there is no admin key yet: make one with \`${command} bootstrap\`, with these settings`]),
    `listening on ${url}`,
  ];
}

function commands({ url, command, adminKey, adminKeyFile }: StartFacts): string[] {
  const token =
    adminKeyFile === undefined ? (adminKey?.reveal() ?? "clv_live_…your-admin-key") : `"$(cat ${adminKeyFile})"`;
  const isLost = adminKey === undefined && adminKeyFile === undefined;
  return [
    ...(isLost ? [`if the admin key is lost: stop this server, then make another with \`${command} bootstrap\``] : []),
    "try it, in another terminal:",
    `  export CLAVIGER_URL=${url} CLAVIGER_TOKEN=${token}`,
    `  SECRET=$(${command} keys create --owner alice --name demo --quiet)   # create`,
    `  printf %s "$SECRET" | ${command} verify                              # verify`,
    `  printf %s "$SECRET" | ${command} keys revoke --secret                # revoke`,
  ];
}
