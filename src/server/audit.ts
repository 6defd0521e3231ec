import { sealPending } from "../audit/seal-pending.ts";
import { AuditSigner } from "../audit/signer.ts";
import { type ChainCheck, type KeptHead, signedHead, verifyChain } from "../audit/verify-chain.ts";
import type { ServerConfig } from "./config/config.ts";
import { createLogger } from "./observe/logger.ts";
import { openStorage } from "./open/open-storage.ts";

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

export { headFromJson, headToJson } from "../audit/kept-head.ts";
export type { KeptHead };
