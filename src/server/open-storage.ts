import { sql } from "drizzle-orm";
import { type KeptRoots, keepAuditRoots } from "../audit/kept-roots.ts";
import { ClavigerError } from "../keys/errors.ts";
import { deriveRootKeys, type RootKeys } from "../keys/root-secret.ts";
import type { Secret } from "../keys/secret.ts";
import { describeOutage } from "../postgres/errors.ts";
import type { PostgresOptions } from "../postgres/postgres-connection.ts";
import { readRevision } from "../postgres/revisions.ts";
import { verifier } from "../postgres/schema.ts";
import { countLiveUnderOtherRoots } from "../postgres/secrets.ts";
import { SERVICE_ROLE } from "../postgres/service-role.ts";
import { Storage } from "../postgres/storage.ts";
import { UnfitSession } from "../postgres/unfit-session.ts";
import { parseRootSecrets, type ServerConfig } from "./config.ts";
import { ensureDatabase } from "./create-database.ts";
import { holdDataFolder } from "./data-folder.ts";
import { adopt } from "./database-template.ts";
import { logOutages } from "./log-outages.ts";
import { makePrivate } from "./private-folder.ts";
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
  /** Of roots that were dropped: what their audit events are checked with. */
  readonly keptRoots: KeptRoots;
  /** Where the embedded database puts the first admin key when there is no terminal to show it on. */
  readonly adminKeyFile: string | undefined;
  close(): Promise<void>;
}

type OpenDatabase = Omit<OpenStorage, "keptRoots">;

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
    return { ...opened, keptRoots: await keepAuditRoots(opened.storage, { ...opened, random: systemRandom }) };
  } catch (error) {
    await opened.close();
    throw error;
  }
}

async function openPostgres(
  config: ServerConfig,
  url: Secret,
  meanwhile: () => Promise<unknown>,
): Promise<OpenDatabase> {
  const { policy, rootSecrets, leaseDatabaseUrl } = config;
  if (rootSecrets === undefined) throw new Error("Postgres without root secrets passed the configuration");
  // What the other kind of storage is made of is not loaded: a start is mostly loading.
  const [{ migrate }, { connectPostgres }] = await Promise.all([
    import("../postgres/migrate.ts"),
    import("../postgres/postgres-connection.ts"),
  ]);
  const direct: Address = leaseDatabaseUrl
    ? { setting: "CLAVIGER_LEASE_DATABASE_URL", url: leaseDatabaseUrl }
    : { setting: "DATABASE_URL", url };
  // Not past a transaction pooler: its lock is the session's.
  const migrating = migrate({ databaseUrl: direct.url.reveal() }).catch((error: unknown) => {
    throw unreachable(direct, error);
  });
  const [migrated] = await Promise.all([migrating, meanwhile()]);
  const role = migrated.canServeAsRole ? SERVICE_ROLE : undefined;
  let expected: string | undefined;
  const isExpected = (identity: string) => expected === undefined || identity === expected;
  const report = logOutages(config.logLevel);
  // While nothing is expected, nothing is served yet: then the command itself fails and says why.
  const onAway = (reason: string) => void (expected !== undefined && report(reason));
  const open = (to: Secret, numbers: Partial<PostgresOptions>) => {
    const options = { url: to.reveal(), role, isExpected, ...policy, ...numbers };
    return new Storage({ connect: () => connectPostgres(options), timeoutMs: options.storageTimeoutMs, onAway });
  };
  const isPooled = leaseDatabaseUrl !== undefined;
  const missesKeepPlans = !isPooled;
  const storage = open(direct.url, {});
  const misses = open(url, { isPooled, keepsPlans: missesKeepPlans, storageTimeoutMs: policy.missTimeoutMs });
  const leases = open(direct.url, { poolSize: 1, storageTimeoutMs: policy.leaseMs });
  const close = async () => void (await Promise.all([storage, misses, leases].map((each) => each.close())));
  try {
    await answers(storage).catch((error: unknown) => {
      throw unreachable(direct, error);
    });
    if (isPooled) await tryPooler(open(url, { isPooled, poolSize: 1 }), url);
  } catch (error) {
    await close();
    throw error;
  }
  return {
    ...{ storage, misses, missesKeepPlans, leases, roots: deriveRoots(rootSecrets), adminKeyFile: undefined },
    expect(identity) {
      const isOther = expected !== undefined && identity !== expected;
      expected = identity;
      if (isOther) for (const other of [storage, misses]) other.reconnect();
    },
    close,
  };
}

async function answers(storage: Storage): Promise<void> {
  await storage.read(readRevision);
}

/** With the patience of a start: what reads secrets afterwards has less. */
async function tryPooler(storage: Storage, url: Secret): Promise<void> {
  try {
    await answers(storage);
  } catch (error) {
    throw unreachable({ setting: "DATABASE_URL", url }, error);
  } finally {
    await storage.close();
  }
}

async function openEmbedded(
  config: ServerConfig,
  path: string,
  meanwhile: () => Promise<unknown>,
): Promise<OpenDatabase> {
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
    await makePrivate(folder.databaseFolder);
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
async function refuseDroppedRoots({ storage, roots }: OpenDatabase): Promise<void> {
  const ids = roots.map((root) => root.id);
  const orphans = await storage.read((database) => countLiveUnderOtherRoots(database, ids));
  if (orphans === 0) return;
  throw new StartupError(
    `CLAVIGER_ROOT_SECRETS lacks a root secret under which live secrets were minted: ${orphans} of them. Put it back at the end of the list; secrets drain within 90 days`,
  );
}

/** SQLSTATE. */
const INSUFFICIENT_PRIVILEGE = "42501";

/** A setting and where it leads to. */
interface Address {
  readonly setting: "DATABASE_URL" | "CLAVIGER_LEASE_DATABASE_URL";
  readonly url: Secret;
}

export function unreachable({ setting, url }: Address, error: unknown): StartupError {
  const { hostname, port, pathname } = new URL(url.reveal());
  const place = `${hostname}:${port || "5432"}${pathname}`;
  const cause = error instanceof ClavigerError ? error.cause : error;
  const reason = describeOutage(error).replace(/\.$/, "");
  if (cause instanceof UnfitSession) return new StartupError(`cannot use Postgres at ${place}: ${reason}`);
  if (cause instanceof Error && "code" in cause && cause.code === INSUFFICIENT_PRIVILEGE) {
    return new StartupError(
      `the schema at ${place} is behind this version, and who connects may not change it (${reason}). Run \`claviger migrate\` as the owner of the schema first`,
    );
  }
  return new StartupError(`cannot use Postgres at ${place} (${reason}). Start it, or correct ${setting}`);
}
