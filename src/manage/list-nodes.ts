import { listVerifiers } from "../postgres/verifier-list.ts";
import type { ManageDeps } from "./deps.ts";

/** A server process in the registry. */
export interface NodeStatus {
  readonly address: string;
  /** Identifies the process. */
  readonly epoch: string;
  /** `silent`: its lease is over, but the registry has not removed it yet. `collected`: removed. */
  readonly state: "live" | "silent" | "collected";
  readonly termMs: number;
  /** Milliseconds since its last renewal, by the database's clock. */
  readonly silentMs: number;
  readonly lagRevisions: number;
  readonly usesRevocationSet: boolean;
}

/** The server processes of this database. */
export async function listNodes({ storage }: Pick<ManageDeps, "storage">): Promise<NodeStatus[]> {
  const rows = await storage.read(listVerifiers);
  return rows.map(({ isCollected, silentMs, ...row }) => {
    const state = isCollected ? "collected" : silentMs < row.termMs ? "live" : "silent";
    return { ...row, state, silentMs: Math.max(0, Math.round(silentMs)) };
  });
}
