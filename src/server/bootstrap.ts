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
