import { access, constants, writeFile } from "node:fs/promises";
import type { Logger } from "pino";
import { KeyManagement } from "#gen/claviger/v1/key_management_pb.js";
import { KeyVerifier } from "#gen/claviger/v1/key_verifier_pb.js";
import { ADMIN_OWNER } from "../access/permissions.ts";
import { createUnsealableReport } from "../audit/seal-pending.ts";
import { messageOf } from "../keys/errors.ts";
import { Keyring } from "../keys/keyring.ts";
import type { ManageDeps } from "../manage/deps.ts";
import { forgetCanaryKeys, forgetKeys } from "../manage/forget-keys.ts";
import { isOwnerKnown } from "../postgres/owners.ts";
import type { Storage } from "../postgres/storage.ts";
import { monotonicMs, systemClock } from "../system/node.ts";
import { every } from "../system/timers.ts";
import { createAdminKey, describeStart } from "./bootstrap.ts";
import { openCanary } from "./canary/open-canary.ts";
import { CloseStack } from "./close-stack.ts";
import { compose, createManageDeps, type Parts } from "./compose.ts";
import { EndingKeys } from "./observe/ending-keys.ts";
import { Lag } from "./observe/lag.ts";
import { createMetrics } from "./observe/metrics.ts";
import { Outage } from "./observe/outage.ts";
import { watchStorage } from "./observe/readiness.ts";
import { Certificate } from "./open/certificate.ts";
import { openBus } from "./open/open-bus.ts";
import { openFlags } from "./open/open-flags.ts";
import { openGateways } from "./open/open-gateways.ts";
import { openRevocation, type RevocationParts } from "./open/open-revocation.ts";
import { openUsage } from "./open/open-usage.ts";
import { RedisStates } from "./open/redis-states.ts";
import { StartupError } from "./startup-error.ts";
import type { WorkerLink } from "./workers/worker.ts";

/** How soon a change of the certificate's files is seen. */
const CERTIFICATE_MS = 2000;

export interface RunOptions {
  /** Shows a line to the operator who started the server. */
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

/** Serves with storage that is open; closing the server closes it. A start that fails leaves it open. */
export async function runServer(options: RunOptions, parts: Parts): Promise<RunningServer> {
  const closing = new CloseStack();
  try {
    return await start(options, parts, closing);
  } catch (error) {
    await closing.close().catch((closeError: unknown) => parts.log.warn({ err: closeError }, "a start that failed"));
    throw error;
  }
}

async function start(options: RunOptions, parts: Parts, closing: CloseStack): Promise<RunningServer> {
  const { config, opened, log } = parts;
  const { policy } = config;
  const flags = await openFlags({ setting: config.flagsFile, log });
  closing.defer(() => flags.close());
  const gateways = await openGateways({ config, log });
  closing.defer(async () => gateways.close());
  const users = config.issuers.length === 0 ? undefined : await openUsers({ config, log });
  closing.defer(() => users?.close());

  const keyring = new Keyring({ roots: opened.roots, brand: policy.manage.brand });
  const redis = new RedisStates({ log, monotonicMs });
  const bus = await openBus({ config, opened, keyring, log, redis });
  closing.defer(() => bus.close());
  const metrics = createMetrics(options.version);
  const endingKeys = new EndingKeys({ log, monotonicMs });
  const onBarrier: RevocationParts["onBarrier"] = (outcome, ms) => metrics.barrier(outcome, ms / 1000);
  const revocation = openRevocation({ config, opened, keyring, bus, log, endingKeys, onBarrier });
  closing.defer(() => revocation.leave().catch(() => undefined));
  const { cache, keeper: lease, feed } = revocation;
  const usage = await openUsage({ config, opened, verifier: revocation.verifier, log, redis });
  closing.defer(() => usage.close());

  const deps = { ...createManageDeps(parts), revoker: revocation.revoker };
  const sealing = new Lag(monotonicMs);
  const canary = config.canaryMs === undefined ? undefined : openCanary(deps);
  const certificate = config.tls && new Certificate(config.tls, log);
  metrics.observe({
    ...{ certificate, cache, lease, feed, usage, redis, endingKeys, sealing, storages: storagesOf(opened) },
    canary: canary && (() => canary.canary),
  });
  const { port, gatewayPort, health, sync, denials } = compose({
    ...{ ...parts, deps, revocation, verifier: usage.verifier, reports: usage.reports, onCall: metrics.call, redis },
    ...{ metrics: options.link?.share(metrics) ?? metrics, users: users?.authenticate, feature: flags.flag },
    certificate,
    gateways,
  });
  closing.defer(() => denials.close());
  const tasks: { stop(): void }[] = [];
  closing.defer(() => tasks.forEach((task) => void task.stop()));

  const { url } = await port.listen().catch(cannotListen);
  closing.defer(() => Promise.all([port.drain(), gatewayPort?.drain()]));
  closing.defer(() => sync.close());
  closing.defer(() => revocation.stopLeasing());
  closing.defer(() => health.shutdown());
  await revocation.start(url);
  const gatewayAddress = await gatewayPort?.listen().catch(cannotListen);
  await announceStart(options, { ...parts, deps, url });

  const watch = ({ typeName }: { readonly typeName: string }, storage: Storage) => {
    health.set(typeName, true);
    return watchStorage({
      storage,
      log,
      service: typeName,
      ...policy.postgres,
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
  tasks.push(
    watch(KeyManagement, opened.storage),
    watch(KeyVerifier, opened.misses),
    chore(policy.revocation.trimEveryMs, "trimming the feed", () => revocation.trim()),
    chore(policy.manage.forgetEveryMs, "removing keys beyond the retention", () => forget(deps)),
    chore(policy.revocation.trimEveryMs, "removing keys of canaries", () => forgetCanaryKeys(deps)),
    chore(policy.audit.sealEveryMs, "sealing audit events", () => sealing.measure(deps.seal)),
    chore(policy.revocation.trimEveryMs, "looking for audit events that cannot be sealed", reportUnsealable),
    every(policy.audit.sealEveryMs, () => denials.flush()),
    every(policy.usage.flushMs, () => usage.flusher.flush()),
    chore(policy.usage.foldMs, "folding counts", () => usage.fold()),
    every(policy.usage.renewPartitionsMs, renewPartitions),
    ...(certificate === undefined ? [] : [every(CERTIFICATE_MS, () => certificate.look())]),
    ...(canary === undefined || config.canaryMs === undefined ? [] : [every(config.canaryMs, canary.round)]),
  );

  // Partitions are for rows that will be folded later, so the start does not wait for them to say that it listens.
  await renewPartitions();
  const authz = gatewayAddress?.url;
  log.info({ event: "started", url, authz, storage: config.storage.kind, settings: config.described }, "started");
  return {
    url,
    async close() {
      await closing.close();
      await opened.close();
      log.info({ event: "stopped" }, "stopped");
    },
  };
}

function cannotListen(error: unknown): never {
  throw new StartupError(messageOf(error), { cause: error });
}

/** The embedded database is one connection for all. */
function storagesOf({ storage, misses, leases }: Parts["opened"]) {
  return misses === storage ? { main: storage } : { main: storage, misses, leases };
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
    grantableScopes: config.policy.access.userGrantableScopes,
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
