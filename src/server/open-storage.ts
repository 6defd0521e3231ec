import { sql } from "drizzle-orm";
import { deriveRootKeys, type RootKeys } from "../keys/root-secret.ts";
import type { Secret } from "../keys/secret.ts";
import type { PostgresOptions } from "../postgres/postgres-connection.ts";
import { verifier } from "../postgres/schema.ts";
import { countLiveUnderOtherRoots } from "../postgres/secrets.ts";
import { SERVICE_ROLE } from "../postgres/service-role.ts";
import { Storage } from "../postgres/storage.ts";
import { parseRootSecrets, type ServerConfig } from "./config.ts";
import { ensureDatabase } from "./create-database.ts";
import { holdDataFolder } from "./data-folder.ts";
import { adopt } from "./database-template.ts";
import { systemRandom } from "./random.ts";
import { readOrMakeRootSecrets } from "./root-secrets-file.ts";
import { StartupError } from "./startup-error.ts";

/** Storage that is migrated, and the roots that its secrets were minted under. */
export interface OpenStorage {
  readonly storage: Storage;
  /** Reads secrets that are not kept in memory; a pool of its own. */
  readonly misses: Storage;
  /** Whether `misses` keeps statements and their plans: it does where no pooler is in between. */
  readonly missesKeepPlans: boolean;
  /** One connection that nothing but the lease is on. */
  readonly leases: Storage;
  /** Says which database is worked with: connections to another one are given up, and new ones refused. */
  expect(identity: string): void;
  /** Newest first. */
  readonly roots: readonly [RootKeys, ...RootKeys[]];
  /** Where the embedded database puts the first admin key when there is no terminal to show it on. */
  readonly adminKeyFile: string | undefined;
  close(): Promise<void>;
}

/**
 * Opens what the configuration names, all or nothing; StartupError says what to do. `meanwhile` is called once, at a
 * moment when there is only waiting to do.
 */
export async function openStorage(
  config: ServerConfig,
  meanwhile: () => Promise<unknown> = async () => undefined,
): Promise<OpenStorage> {
  const opened =
    config.storage.kind === "postgres"
      ? await openPostgres(config, config.storage.url, meanwhile)
      : await openEmbedded(config, config.storage.folder, meanwhile);
  try {
    await refuseDroppedRoots(opened);
    return opened;
  } catch (error) {
    await opened.close();
    throw error;
  }
}

async function openPostgres(
  config: ServerConfig,
  url: Secret,
  meanwhile: () => Promise<unknown>,
): Promise<OpenStorage> {
  const { policy, rootSecrets } = config;
  if (rootSecrets === undefined) throw new Error("Postgres without root secrets passed the configuration");
  // What the other kind of storage is made of is not loaded: a start is mostly loading.
  const [{ migrate }, { connectPostgres }] = await Promise.all([
    import("../postgres/migrate.ts"),
    import("../postgres/postgres-connection.ts"),
  ]);
  const migrating = migrate({ databaseUrl: url.reveal() }).catch((error: unknown) => {
    throw unreachable(url, error);
  });
  const [migrated] = await Promise.all([migrating, meanwhile()]);
  const role = migrated.canServeAsRole ? SERVICE_ROLE : undefined;
  const direct = config.leaseDatabaseUrl ?? url;
  let expected: string | undefined;
  const isExpected = (identity: string) => expected === undefined || identity === expected;
  const open = (to: Secret, numbers: Partial<PostgresOptions>) => {
    const options = { url: to.reveal(), role, isExpected, ...policy, ...numbers };
    return new Storage({ connect: () => connectPostgres(options), timeoutMs: options.storageTimeoutMs });
  };
  const storage = open(direct, {});
  const missesKeepPlans = config.leaseDatabaseUrl === undefined;
  const misses = open(url, { isReadOnly: true, keepsPlans: missesKeepPlans, storageTimeoutMs: policy.missTimeoutMs });
  const leases = open(direct, { poolSize: 1, storageTimeoutMs: policy.leaseMs });
  return {
    ...{ storage, misses, missesKeepPlans, leases, roots: deriveRoots(rootSecrets), adminKeyFile: undefined },
    expect(identity) {
      const isOther = expected !== undefined && identity !== expected;
      expected = identity;
      if (isOther) for (const other of [storage, misses]) other.reconnect();
    },
    close: async () => void (await Promise.all([storage, misses, leases].map((each) => each.close()))),
  };
}

async function openEmbedded(
  config: ServerConfig,
  path: string,
  meanwhile: () => Promise<unknown>,
): Promise<OpenStorage> {
  const folder = await holdDataFolder(path);
  try {
    const rootSecrets = config.rootSecrets ?? (await readOrMakeRootSecrets(folder.rootSecretsFile, systemRandom));
    const roots = deriveRoots(rootSecrets);
    // In this order: loading keeps this thread busy, copying does not.
    const [, { migrateEmbedded }, { openPglite }] = await Promise.all([
      ensureDatabase(folder.databaseFolder),
      import("../postgres/migrate-embedded.ts"),
      import("../postgres/pglite-connection.ts"),
      meanwhile(),
    ]);
    const connection = await openPglite(folder.databaseFolder);
    await migrateEmbedded(connection.database);
    await adopt(connection.database);
    await connection.database.execute(sql.raw(`set role ${SERVICE_ROLE}`));
    // The folder's lock says that nobody else runs: what a killed process has left would only be waited for.
    await connection.database.delete(verifier);
    const storage = new Storage({ connect: () => connection, timeoutMs: config.policy.storageTimeoutMs });
    const close = async () => {
      await storage.close();
      folder.release();
    };
    return {
      ...{ storage, misses: storage, missesKeepPlans: false, leases: storage },
      ...{ roots, adminKeyFile: folder.adminKeyFile, close },
      expect: () => undefined,
    };
  } catch (error) {
    folder.release();
    throw error;
  }
}

function deriveRoots(rootSecrets: Secret): [RootKeys, ...RootKeys[]] {
  const [newest, ...older] = parseRootSecrets(rootSecrets);
  return [deriveRootKeys(newest), ...older.map(deriveRootKeys)];
}

/** A root that is dropped too early would call good keys unknown. */
async function refuseDroppedRoots({ storage, roots }: OpenStorage): Promise<void> {
  const ids = roots.map((root) => root.id);
  const orphans = await storage.read((database) => countLiveUnderOtherRoots(database, ids));
  if (orphans === 0) return;
  throw new StartupError(
    `CLAVIGER_ROOT_SECRETS lacks a root secret under which live secrets were minted: ${orphans} of them. Put it back at the end of the list; secrets drain within 90 days`,
  );
}

/** SQLSTATE. */
const INSUFFICIENT_PRIVILEGE = "42501";

function unreachable(url: Secret, error: unknown): StartupError {
  const { hostname, port, pathname } = new URL(url.reveal());
  const cause = error instanceof Error ? (error.cause ?? error) : error;
  if (cause instanceof Error && "code" in cause && cause.code === INSUFFICIENT_PRIVILEGE) {
    return new StartupError(
      `the schema at ${hostname}:${port || "5432"}${pathname} is behind this version, and who connects may not change it (${cause.message}). Run \`claviger migrate\` as the owner of the schema first`,
    );
  }
  const reason =
    cause instanceof Error ? cause.message || ("code" in cause ? String(cause.code) : cause.name) : String(cause);
  return new StartupError(
    `cannot use Postgres at ${hostname}:${port || "5432"}${pathname} (${reason}). Start it, or correct DATABASE_URL`,
  );
}
