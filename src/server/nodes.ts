import { listVerifiers } from "../postgres/verifier-list.ts";
import type { ServerConfig } from "./config.ts";
import { openStorage } from "./open-storage.ts";

/** A server process, as the registry has it. */
export interface NodeStatus {
  readonly address: string;
  /** Names the process. */
  readonly epoch: string;
  /** `silent`: its lease is over, and nobody has given it up yet. `collected`: given up. */
  readonly state: "live" | "silent" | "collected";
  readonly termMs: number;
  readonly silentMs: number;
  readonly lagRevisions: number;
  readonly usesRevocationSet: boolean;
}

/** The server processes of this database, read from it. */
export async function listNodes(config: ServerConfig): Promise<NodeStatus[]> {
  const opened = await openStorage(config);
  try {
    const rows = await opened.storage.read(listVerifiers);
    return rows.map(({ isCollected, silentMs, ...row }) => {
      const state = isCollected ? "collected" : silentMs < row.termMs ? "live" : "silent";
      return { ...row, state, silentMs: Math.max(0, Math.round(silentMs)) };
    });
  } finally {
    await opened.close();
  }
}
