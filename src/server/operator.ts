import type { ListNodesResponse } from "#gen/claviger/v1/node_pb.js";
import { sealPending } from "../audit/seal-pending.ts";
import { AuditSigner } from "../audit/signer.ts";
import { type ChainCheck, type KeptHead, signedHead, verifyChain } from "../audit/verify-chain.ts";
import { listNodes, type NodeStatus } from "../manage/list-nodes.ts";
import { migrationCount } from "../postgres/migrate/migrations.ts";
import { nodesToProto } from "../rpc/codec/nodes-to-proto.ts";
import type { ServerConfig } from "./config/config.ts";
import { createLogger } from "./observe/logger.ts";
import { openStorage } from "./open/open-storage.ts";
import { directAddress, unreachable } from "./open/reach-postgres.ts";

/** The registry of a database, to be read again and again. */
export interface OpenNodes {
  list(): Promise<NodeStatus[]>;
  close(): Promise<void>;
}

/** Opens the database itself, as a server does; StartupError says what to do. */
export async function openNodes(config: ServerConfig): Promise<OpenNodes> {
  const opened = await openStorage(config);
  return { list: () => listNodes(opened), close: () => opened.close() };
}

/** The server processes of this database, read from it without a server: agents are not known. */
export async function readNodes(config: ServerConfig): Promise<ListNodesResponse> {
  const nodes = await openNodes(config);
  try {
    return nodesToProto(await nodes.list(), { epoch: "", agents: [] });
  } finally {
    await nodes.close();
  }
}

/** Checks the whole audit log, straight in the database; `kept` is a head that was kept elsewhere. */
export function verifyAudit(config: ServerConfig, kept: KeptHead | undefined): Promise<ChainCheck> {
  return withAudit(config, ({ storage, signer }) => verifyChain(storage, signer, kept));
}

/** The signed end of the audit log, everything that is committed included; undefined while it is empty. */
export function auditHead(config: ServerConfig): Promise<KeptHead | undefined> {
  return withAudit(config, async (deps) => {
    await sealPending(deps);
    return signedHead(deps.storage, deps.signer);
  });
}

async function withAudit<T>(
  config: ServerConfig,
  use: (deps: Parameters<typeof sealPending>[0]) => Promise<T>,
): Promise<T> {
  const opened = await openStorage(config);
  try {
    const { storage, roots, keptRoots } = opened;
    const signer = new AuditSigner(roots, keptRoots.vouched);
    return await use({ storage, signer, log: createLogger(config.logLevel, config.logFormat) });
  } finally {
    await opened.close();
  }
}

export { headFromJson, headToJson } from "../audit/verify-chain.ts";
export type { KeptHead };

/**
 * Brings the schema up to date without serving; returns how many migrations it then has. Needs no root secrets with
 * Postgres: no secret of a key is read.
 *
 * @throws StartupError that says what to do
 */
export async function migrateDatabase(config: ServerConfig): Promise<{ readonly applied: number }> {
  const { storage, leaseDatabaseUrl } = config;
  if (storage.kind === "embedded") {
    const opened = await openStorage(config);
    await opened.close();
    return { applied: migrationCount() };
  }
  const { migrate } = await import("../postgres/migrate/migrate.ts");
  const direct = directAddress(storage.url, leaseDatabaseUrl);
  const log = createLogger(config.logLevel, config.logFormat);
  const onWait = (problem: string) => log.warn({ event: "migration" }, problem);
  await migrate({ databaseUrl: direct.url.reveal(), onWait }).catch((error: unknown) => {
    throw unreachable(direct, error);
  });
  return { applied: migrationCount() };
}
