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

/** The registry of a database, to be read again and again. */
export interface OpenNodes {
  list(): Promise<NodeStatus[]>;
  close(): Promise<void>;
}

/** Opens the database itself, as a server does; StartupError says what to do. */
export async function openNodes(config: ServerConfig): Promise<OpenNodes> {
  const opened = await openStorage(config);
  return {
    async list() {
      const rows = await opened.storage.read(listVerifiers);
      return rows.map(({ isCollected, silentMs, ...row }) => {
        const state = isCollected ? "collected" : silentMs < row.termMs ? "live" : "silent";
        return { ...row, state, silentMs: Math.max(0, Math.round(silentMs)) };
      });
    },
    close: () => opened.close(),
  };
}

/** The server processes of this database, read from it. */
export async function listNodes(config: ServerConfig): Promise<NodeStatus[]> {
  const nodes = await openNodes(config);
  try {
    return await nodes.list();
  } finally {
    await nodes.close();
  }
}
