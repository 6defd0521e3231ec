import { ADMIN_SCOPE } from "../access/permissions.ts";
import type { Secret } from "../keys/secret.ts";
import { createKey } from "../manage/create-key.ts";
import type { ManageDeps } from "../manage/deps.ts";
import { createManageDeps } from "./compose.ts";
import type { ServerConfig } from "./config/config.ts";
import { createLogger } from "./observe/logger.ts";
import { openStorage } from "./open/open-storage.ts";

export interface AdminKey {
  readonly keyId: string;
  readonly secret: Secret;
}

/** Makes an admin key; what access to the database entitles to. */
export async function bootstrapAdmin(config: ServerConfig): Promise<AdminKey> {
  const opened = await openStorage(config);
  try {
    return await createAdminKey(
      createManageDeps({ config, opened, log: createLogger(config.logLevel, config.logFormat) }),
    );
  } finally {
    await opened.close();
  }
}

/** Makes a key that may do everything, owned by `claviger:admin`. */
export async function createAdminKey(deps: Omit<ManageDeps, "revoker">): Promise<AdminKey> {
  const command = {
    owner: "",
    displayName: "admin",
    environment: "live",
    scopes: [ADMIN_SCOPE],
    ttlMs: undefined,
    requestId: "",
  } as const;
  const rest = { labels: {}, metadata: null, allowedCidrs: [], limits: null };
  const { view, secret } = await createKey(
    deps,
    { kind: "system", address: "", requestId: "" },
    { ...command, ...rest },
  );
  return { keyId: view.key.id, secret };
}

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
