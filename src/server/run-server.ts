import { access, constants, writeFile } from "node:fs/promises";
import type { Logger } from "pino";
import { KeyManagement } from "#gen/claviger/v1/key_management_pb.js";
import { KeyVerifier } from "#gen/claviger/v1/key_verifier_pb.js";
import { ADMIN_OWNER } from "../access/permissions.ts";
import { createUnsealableReport } from "../audit/report-unsealable.ts";
import { messageOf } from "../keys/errors.ts";
import { Keyring } from "../keys/keyring.ts";
import type { ManageDeps } from "../manage/deps.ts";
import { forgetKeys } from "../manage/forget-keys.ts";
import { isOwnerKnown } from "../postgres/owners.ts";
import type { Storage } from "../postgres/storage.ts";
import { every } from "../system/every.ts";
import { monotonicMs, systemClock } from "../system/node.ts";
import { createAdminKey } from "./bootstrap.ts";
import type { Canary } from "./canary/canary.ts";
import { openCanary } from "./canary/open-canary.ts";
import { compose, type Parts } from "./compose.ts";
import { describeStart } from "./first-steps.ts";
import { EndingKeys } from "./observe/ending-keys.ts";
import { Lag } from "./observe/lag.ts";
import { createMetrics } from "./observe/metrics.ts";
import { Outage } from "./observe/outage.ts";
import { watchStorage } from "./observe/readiness.ts";
import { openBus } from "./open/open-bus.ts";
import { openFlags } from "./open/open-flags.ts";
import { openRevocation, type RevocationParts } from "./open/open-revocation.ts";
import { openUsage } from "./open/open-usage.ts";
import { RedisStates } from "./open/redis-states.ts";
import { StartupError } from "./startup-error.ts";
import type { WorkerLink } from "./workers/worker.ts";

export interface RunOptions {
  /** Shows a line to whoever started the server. */
  readonly announce: (line: string) => void;
  /** The version of the program. */
  readonly version: string;
  /** How the command line is called here, for the commands to paste. */
  readonly command: string;
  /** Whether a person is looking: without one, the first admin key also goes into a file. */
  readonly isTerminal: boolean;
  /** In one of several workers. */
  readonly link?: WorkerLink | undefined;
}

export interface RunningServer {
  /** `http://host:port` with the port that was taken. */
  readonly url: string;
  /** Drains: readiness off, GOAWAY, calls in flight finish, storage is closed. */
  close(): Promise<void>;
}

/** Serves with storage that is open; closing the server closes it. */
export async function runServer(options: RunOptions, parts: Parts): Promise<RunningServer> {
  const gates = await openGates(parts);
  try {
    return await listen(options, { ...parts, gates });
  } catch (error) {
    await gates.close();
    throw error;
  }
}

async function listen(
  options: RunOptions,
  parts: Parts & { readonly gates: Awaited<ReturnType<typeof openGates>> },
): Promise<RunningServer> {
  const { config, opened, log, gates } = parts;
  const { revocation, usage, metrics, sealing, bus, runCanary } = await openVerifier(parts, options.version);
  const open = { ...parts, revocation, verifier: usage.verifier, metrics: options.link?.share(metrics) ?? metrics };
  const { port, health, deps, sync, denials } = compose({
    ...{ ...open, reports: usage.reports, onCall: metrics.call },
    ...{ users: gates.users?.authenticate, feature: gates.flags.flag },
  });
  const round = runCanary(deps);
  const { url } = await port.listen().catch(async (error: unknown) => {
    await Promise.all([usage.close(), bus.close()]);
    throw new StartupError(messageOf(error), { cause: error });
  });
  try {
    await revocation.start(url);
    await announceStart(options, { ...parts, deps, url });
  } catch (error) {
    revocation.stopLeasing();
    await port.drain();
    await Promise.all([usage.close(), bus.close()]);
    throw error;
  }
  const watch = ({ typeName }: { readonly typeName: string }, storage: Storage) => {
    health.set(typeName, true);
    return watchStorage({
      storage,
      log,
      service: typeName,
      ...config.policy,
      onChange: (ready) => health.set(typeName, ready),
    });
  };
  const reportUnsealable = createUnsealableReport(deps);
  if (opened.keptRoots.unreadable > 0) {
    const { unreadable } = opened.keptRoots;
    log.error({ event: "audit.roots", unreadable }, "rows of table audit_root were changed, and are ignored");
  }
  const partitions = outageOf("making partitions for usage", log);
  const renewPartitions = () => partitions.watch(() => usage.renewPartitions());
  const chore = (everyMs: number, what: string, work: () => Promise<unknown>) => {
    const outage = outageOf(what, log);
    return every(everyMs, () => outage.watch(work));
  };
  const tasks = [
    watch(KeyManagement, opened.storage),
    watch(KeyVerifier, opened.misses),
    chore(config.policy.trimEveryMs, "trimming the feed", () => revocation.trim()),
    chore(config.policy.forgetEveryMs, "removing keys beyond the retention", () => forget(deps)),
    chore(config.policy.sealEveryMs, "sealing audit events", () => sealing.measure(deps.seal)),
    chore(config.policy.trimEveryMs, "looking for audit events that cannot be sealed", reportUnsealable),
    every(config.policy.sealEveryMs, () => denials.flush()),
    every(config.policy.flushUsageMs, () => usage.flusher.flush()),
    chore(config.policy.foldUsageMs, "folding counts", () => usage.fold()),
    every(config.policy.renewPartitionsMs, renewPartitions),
    ...(round === undefined || config.canaryMs === undefined ? [] : [every(config.canaryMs, round)]),
  ];

  // They are for what will be folded: nobody who was told that the server listens waits for them.
  await renewPartitions();
  log.info({ event: "started", url, storage: config.storage.kind, settings: config.described }, "started");
  return {
    url,
    async close() {
      health.shutdown();
      revocation.stopLeasing();
      await sync.close();
      await port.drain();
      for (const task of tasks) task.stop();
      await denials.close();
      await usage.close();
      await gates.close();
      await revocation.leave().catch(() => undefined);
      await bus.close();
      await opened.close();
      log.info({ event: "stopped" }, "stopped");
    },
  };
}

/** What answers from memory, and what it says of itself. */
async function openVerifier({ config, opened, log }: Parts, version: string) {
  const keyring = new Keyring({ roots: opened.roots, brand: config.policy.brand });
  const redis = new RedisStates({ log, monotonicMs });
  const bus = await openBus({ config, opened, keyring, log, redis });
  const endingKeys = new EndingKeys({ log, monotonicMs });
  const sealing = new Lag(monotonicMs);
  const onBarrier: RevocationParts["onBarrier"] = (outcome, ms) => metrics.barrier(outcome, ms / 1000);
  const revocation = openRevocation({ config, opened, keyring, bus, log, endingKeys, onBarrier });
  const { cache, keeper: lease, feed } = revocation;
  const usage = await openUsage({ config, opened, verifier: revocation.verifier, log, redis }).catch(
    async (error: unknown) => {
      await bus.close();
      throw error;
    },
  );
  let canary: Canary | undefined;
  const counts = () => canary ?? { rounds: 0, undecided: 0, revokedButAccepted: 0 };
  const runs = config.canaryMs !== undefined;
  const metrics = createMetrics({
    ...{ version, cache, lease, feed, usage, redis, endingKeys, sealing, storages: storagesOf(opened) },
    canary: runs ? counts : undefined,
  });
  const runCanary = (deps: ManageDeps) => {
    if (!runs) return undefined;
    const opened = openCanary(deps);
    canary = opened.canary;
    return opened.round;
  };
  return { bus, revocation, usage, metrics, sealing, runCanary };
}

/** The embedded database is one connection for all. */
function storagesOf({ storage, misses, leases }: Parts["opened"]) {
  return misses === storage ? { main: storage } : { main: storage, misses, leases };
}

/** What decides about callers besides storage: the users' issuers and the feature flag. */
async function openGates({ config, log }: Parts) {
  const flags = await openFlags({ setting: config.flagsFile, log });
  const users = config.issuers.length === 0 ? undefined : await openUsers({ config, log });
  const close = async () => {
    users?.close();
    await flags.close();
  };
  return { flags, users, close };
}

async function openUsers({ config, log }: Pick<Parts, "config" | "log">) {
  const { createUserAuthenticator } = await import("../access/jwt-issuers.ts");
  const outages = new Map<string, Outage>();
  for (const { issuer } of config.issuers) {
    const lines = { failing: "an issuer has a problem", well: "an issuer has no problem any more" };
    outages.set(issuer, new Outage({ log, event: "issuer", ...lines, about: { issuer } }));
  }
  return createUserAuthenticator({
    issuers: config.issuers,
    grantableScopes: config.policy.userGrantableScopes,
    clock: systemClock,
    onWarning: (problem, issuer) => outages.get(issuer)?.failed(problem),
    onLoaded: (issuer) => outages.get(issuer)?.succeeded(),
  });
}

async function announceStart(
  { announce, command, isTerminal }: RunOptions,
  { config, opened, deps, url }: Parts & { readonly deps: ManageDeps; readonly url: string },
): Promise<void> {
  const embedded = config.storage.kind === "embedded" ? config.storage.folder : undefined;
  const isFirst = !(await opened.storage.read((db) => isOwnerKnown(db, ADMIN_OWNER)));
  const adminKey = isFirst && embedded !== undefined ? (await createAdminKey(deps)).secret : undefined;
  const file = isTerminal ? undefined : opened.adminKeyFile;
  if (adminKey !== undefined && file !== undefined) await writeFile(file, `${adminKey.reveal()}\n`, { mode: 0o600 });
  // A start in a terminal wrote none, and people remove the file once they have the key elsewhere.
  const adminKeyFile = file !== undefined && (await isReadable(file)) ? file : undefined;
  const hasAdminKey = !isFirst || adminKey !== undefined;
  for (const line of describeStart({ url, command, embedded, adminKey, adminKeyFile, hasAdminKey })) announce(line);
}

async function isReadable(file: string): Promise<boolean> {
  return access(file, constants.R_OK).then(
    () => true,
    () => false,
  );
}

function outageOf(what: string, log: Logger): Outage {
  const failing = `${what} failed; the server tries again`;
  return new Outage({ log, event: "chore", failing, well: `${what} works again` });
}

async function forget(deps: ManageDeps): Promise<void> {
  const keys = await forgetKeys(deps);
  if (keys > 0) deps.log.info({ event: "keys.forgotten", keys }, "keys beyond the retention removed");
}
