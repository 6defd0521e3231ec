import type { Logger } from "pino";
import { type KeptRoots, keepAuditRoots } from "../../audit/kept-roots.ts";
import { deriveRootKeys, type RootKeys } from "../../keys/root-secret.ts";
import type { Secret } from "../../keys/secret.ts";
import type { PostgresOptions } from "../../postgres/connect/postgres-connection.ts";
import { SERVICE_ROLE } from "../../postgres/migrate/service-role.ts";
import { isEarlierTimeline, readRevision } from "../../postgres/revisions.ts";
import { countLiveUnderOtherRoots } from "../../postgres/secrets.ts";
import { Storage } from "../../postgres/storage.ts";
import { monotonicMs, systemRandom } from "../../system/node.ts";
import type { ServerConfig } from "../config/config.ts";
import { parseRootSecrets } from "../config/settings.ts";
import { ensureDatabase } from "../embedded/create-database.ts";
import { backupSocket, holdDataFolder, makePrivate, readOrMakeRootSecrets } from "../embedded/data-folder.ts";
import { serveBackups } from "../embedded/serve-backups.ts";
import { explainDatabase, explainFolder } from "../embedded/unusable-folder.ts";
import { createLogger } from "../observe/logger.ts";
import { NoWrites } from "../observe/no-writes.ts";
import { Outage } from "../observe/outage.ts";
import { StartupError } from "../startup-error.ts";
import { type Address, directAddress, reach } from "./reach-postgres.ts";

/** Storage that is migrated, and the roots that its secrets were minted under. */
export interface OpenStorage {
  readonly storage: Storage;
  /** Reads secrets that are not kept in memory; a pool of its own. */
  readonly misses: Storage;
  /** One connection that nothing but the lease is on. */
  readonly leases: Storage;
  /** Whether storage took no changes lately, and why. */
  readonly noWrites: NoWrites;
  /** Says which database is worked with: connections to another one are given up, and new ones refused. */
  expect(identity: string): void;
  /** Newest first. */
  readonly roots: readonly [RootKeys, ...RootKeys[]];
  /** The roots that were dropped, which still check their audit events. */
  readonly keptRoots: KeptRoots;
  /** Where the embedded database puts the first admin key when there is no terminal to show it on. */
  readonly adminKeyFile: string | undefined;
  close(): Promise<void>;
}

type OpenDatabase = Omit<OpenStorage, "keptRoots">;

export interface OpenStorageOptions {
  /** Loads the rest of the program; called once. Default: there is nothing to load. */
  readonly load?: () => Promise<unknown>;
  /** Resolves when the operator stops the start: Postgres is not waited for any more. Default: never. */
  readonly stopped?: Promise<void>;
}

/** Opens what the configuration names, all or nothing; StartupError says what to do. */
export async function openStorage(config: ServerConfig, options: OpenStorageOptions = {}): Promise<OpenStorage> {
  const opened =
    config.storage.kind === "postgres"
      ? await openPostgres(config, config.storage.url, options)
      : await openEmbedded(config, config.storage.folder, options);
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
  { load, stopped }: OpenStorageOptions,
): Promise<OpenDatabase> {
  const { policy, rootSecrets, leaseDatabaseUrl } = config;
  if (rootSecrets === undefined) throw new Error("Postgres without root secrets passed the configuration");
  // The modules of the other kind of storage are not loaded: loading is most of a start.
  const [{ migrate }, { connectPostgres }, { Route }] = await Promise.all([
    import("../../postgres/migrate/migrate.ts"),
    import("../../postgres/connect/postgres-connection.ts"),
    import("../../postgres/connect/route.ts"),
  ]);
  // Before the first connection: loading keeps this thread busy, and a time-out would run while the answer waits to be
  // read. A process with a tenth of a core loads for 10 s.
  await load?.();
  const direct = directAddress(url, leaseDatabaseUrl);
  const log = createLogger(config.logLevel, config.logFormat);
  const onWait = (problem: string) => log.warn({ event: "migration" }, problem);
  const patience = { patienceMs: policy.postgres.startPatienceMs, stopped, log };
  const migrated = await reach(direct, () => migrate({ databaseUrl: direct.url.reveal(), onWait }), patience);
  const role = migrated.canServeAsRole ? SERVICE_ROLE : undefined;
  let expected: string | undefined;
  const refusalOf = (identity: string) =>
    expected === undefined || identity === expected ? undefined : ANOTHER_DATABASE;
  // A registration leads to the new primary after a failover, so that the lease is not bound to the old one.
  const refusalOfLease = (identity: string) =>
    expected !== undefined && isEarlierTimeline(identity, expected) ? EARLIER_TIMELINE : undefined;
  if (migrated.isPooled) log.warn({ event: "pooler" }, pooledLeases(direct));
  const outage = storageOutage(log);
  // While nothing is expected, nothing is served yet: then the command itself fails and says why.
  const onAway = (reason: string) => void (expected !== undefined && outage.failed(reason));
  const onAnswer = () => outage.succeeded();
  const noWrites = new NoWrites(monotonicMs);
  const onNoWrites = (reason: string) => noWrites.note(reason);
  const open = (to: Secret, numbers: Partial<PostgresOptions>) => {
    const route = new Route(to.reveal());
    const options = { url: to.reveal(), route, role, refusalOf, jitter, ...policy.postgres, ...numbers };
    return new Storage({
      connect: () => connectPostgres(options),
      timeoutMs: options.storageTimeoutMs,
      ...{ onAway, onNoWrites, onAnswer },
    });
  };
  const settings = migrated.isPooled ? "transaction" : "session";
  const forMisses = {
    // Where no pooler is in between.
    keepsPlans: leaseDatabaseUrl === undefined && !migrated.isPooled,
    settings: leaseDatabaseUrl === undefined ? settings : "none",
  } as const;
  let isOldPrimaryTold = false;
  const forLeases: Partial<PostgresOptions> = {
    ...{ settings, poolSize: 1, storageTimeoutMs: policy.revocation.leaseMs },
    refusalOf(identity) {
      const refusal = refusalOfLease(identity);
      // A line of its own: an outage of the lease has its first reason only.
      if (refusal !== undefined && !isOldPrimaryTold) log.error({ event: "old primary" }, refusal);
      isOldPrimaryTold ||= refusal !== undefined;
      return refusal;
    },
  };
  const storage = open(direct.url, { settings });
  const misses = open(url, { ...forMisses, storageTimeoutMs: policy.verify.missTimeoutMs });
  const leases = open(direct.url, forLeases);
  const close = async () => void (await Promise.all([storage, misses, leases].map((each) => each.close())));
  try {
    await reach(direct, () => answers(storage), patience);
    if (leaseDatabaseUrl !== undefined) {
      const pooled: Address = { setting: "DATABASE_URL", url };
      await reach(pooled, () => tryPooler(open(url, { ...forMisses, poolSize: 1 })), patience);
    }
  } catch (error) {
    await close();
    throw error;
  }
  return {
    ...{ storage, misses, leases, roots: deriveRoots(rootSecrets), adminKeyFile: undefined },
    noWrites,
    expect(identity) {
      const isOther = expected !== undefined && identity !== expected;
      expected = identity;
      isOldPrimaryTold = false;
      if (isOther) for (const other of [storage, misses]) other.reconnect();
    },
    close,
  };
}

const ANOTHER_DATABASE = "another database, or another timeline of it, than the one of this node's lease";
const EARLIER_TIMELINE =
  "an earlier timeline of the database than before: an old primary that was not fenced. Stop it; after a restore from a backup, restart Claviger";

/** 0 to 1, evenly. */
const jitter = () => (systemRandom(1)[0] ?? 0) / 255;

async function answers(storage: Storage): Promise<void> {
  await storage.read(readRevision);
}

/** With the patience of a start: what reads secrets afterwards has less. */
async function tryPooler(storage: Storage): Promise<void> {
  try {
    await answers(storage);
  } finally {
    await storage.close();
  }
}

async function openEmbedded(config: ServerConfig, path: string, { load }: OpenStorageOptions): Promise<OpenDatabase> {
  const folder = await holdDataFolder(path).catch(async (error: unknown) => {
    throw await explainFolder(path, error);
  });
  try {
    const rootSecrets = config.rootSecrets ?? (await readOrMakeRootSecrets(folder.rootSecretsFile, systemRandom));
    const roots = deriveRoots(rootSecrets);
    // In this order: loading keeps this thread busy, copying does not.
    const [, { migrateEmbedded, prepareEmbedded }, { openPglite }] = await Promise.all([
      ensureDatabase(folder.databaseFolder),
      import("../../postgres/migrate/migrate-embedded.ts"),
      import("../../postgres/connect/pglite-connection.ts"),
      load?.(),
    ]);
    const connection = await openPglite(folder.databaseFolder).catch(async (error: unknown) => {
      throw await explainDatabase(path, error);
    });
    await makePrivate(folder.databaseFolder);
    await migrateEmbedded(connection.database);
    await prepareEmbedded(connection.database);
    const log = createLogger(config.logLevel, config.logFormat);
    const outage = storageOutage(log);
    const noWrites = new NoWrites(monotonicMs);
    const storage = new Storage({
      ...{ connect: () => connection, timeoutMs: config.policy.postgres.storageTimeoutMs },
      onAway: (reason) => outage.failed(reason),
      onNoWrites: (reason) => noWrites.note(reason),
      onAnswer: () => outage.succeeded(),
    });
    const backups = await serveBackups({ path: backupSocket(path), dump: connection.dump, log });
    const close = async () => {
      backups.close();
      await storage.close();
      folder.release();
    };
    return {
      ...{ storage, misses: storage, leases: storage },
      ...{ roots, adminKeyFile: folder.adminKeyFile, noWrites, close },
      expect: () => undefined,
    };
  } catch (error) {
    folder.release();
    throw await explainFolder(path, error);
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

/** One outage for all pools, which lead to one database. The calls themselves say only that it could not be asked. */
function storageOutage(log: Logger): Outage {
  return new Outage({
    ...{ log, event: "storage.away" },
    failing: "the database could not be asked; calls end as UNAVAILABLE until it answers",
    well: "the database answers again",
  });
}

function pooledLeases({ setting }: Address): string {
  return `${setting} leads to a connection pooler, so that leases wait for its connections together with all other work. Set CLAVIGER_LEASE_DATABASE_URL to a direct connection`;
}
