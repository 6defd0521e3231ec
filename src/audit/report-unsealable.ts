import { listPending } from "../postgres/audit.ts";
import { MOST_NAMED, type SealerDeps } from "./seal-pending.ts";

/** Events that one pass reads and remembers. */
const WINDOW = 1000;

/** Logs once each event that waits for a server with its root secret. Call it repeatedly. */
export function createUnsealableReport({ storage, signer, log }: SealerDeps): () => Promise<void> {
  let reported: ReadonlySet<string> = new Set();
  return async () => {
    const roots = { are: "notIn", ids: signer.rootIds } as const;
    const waiting = await storage.read((database) => listPending(database, { limit: WINDOW, roots }));
    const ids = waiting.map(({ event }) => event.id);
    const fresh = ids.filter((id) => !reported.has(id));
    reported = new Set(ids);
    if (fresh.length === 0) return;
    log.error(
      { event: "audit.unsealable", count: fresh.length, ids: fresh.slice(0, MOST_NAMED) },
      "audit events name a root secret that is neither configured nor vouched for, and are not sealed. Start a server that knows it; if there is none, Claviger did not write them: run `claviger audit verify`",
    );
  };
}
