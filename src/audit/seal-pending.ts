import type { Logger } from "pino";
import { findHead, insertSeals, listPending, lockSealer, removePending, type SealedEvent } from "../postgres/audit.ts";
import type { Database, Storage } from "../postgres/storage.ts";
import { type AuditSigner, CHAIN_START, sealHash } from "./signer.ts";

/** Events per transaction. */
const BATCH = 1000;
/** Ids in one line of the log. */
export const MOST_NAMED = 10;

export interface SealerDeps {
  readonly storage: Pick<Storage, "read" | "transaction">;
  readonly signer: AuditSigner;
  readonly log: Logger;
}

/**
 * Gives every committed event with a good signature its place in the chain. One sealer works at a time. An event with a
 * wrong signature never enters the chain; one that names an unknown root waits. See docs/decisions/0012-audit-chain.md.
 */
export async function sealPending({ storage, signer, log }: SealerDeps): Promise<void> {
  for (;;) {
    const { seen, forged } = await storage.transaction((transaction) => sealBatch(transaction, signer));
    if (forged.length > 0) {
      log.error(
        { event: "audit.forged", count: forged.length, ids: forged.slice(0, MOST_NAMED) },
        "audit events that Claviger did not write; run `claviger audit verify`",
      );
    }
    if (seen < BATCH) return;
  }
}

/**
 * `sealPending` for one process, at most once at a time: several sealers of one process would wait for each other, each
 * with a connection. Calls that arrive during a sealing share the next one, which therefore finds every event that was
 * committed before them.
 */
export function createSealer(deps: SealerDeps): () => Promise<void> {
  let last: Promise<void> = Promise.resolve();
  let next: Promise<void> | undefined;
  return () => {
    if (next !== undefined) return next;
    next = last.then(() => {
      next = undefined;
      return sealPending(deps);
    });
    last = next.catch(() => undefined);
    return next;
  };
}

async function sealBatch(transaction: Database, signer: AuditSigner) {
  await lockSealer(transaction);
  const pending = await listPending(transaction, { limit: BATCH, roots: { are: "in", ids: signer.rootIds } });
  const isGenuine = ({ event, signature }: (typeof pending)[number]) => signer.check(event, signature) === "good";
  const forged = pending.filter((each) => !isGenuine(each)).map(({ event }) => event.id);
  if (forged.length > 0) await removePending(transaction, forged);
  const genuine = pending.filter(isGenuine);
  if (genuine.length > 0) await appendSeals(transaction, genuine);
  return { seen: pending.length, forged };
}

async function appendSeals(transaction: Database, genuine: readonly Pick<SealedEvent, "event">[]): Promise<void> {
  const head = await findHead(transaction);
  let previous = head?.hash ?? CHAIN_START;
  const first = (head?.sequence ?? 0) + 1;
  const sealed: SealedEvent[] = genuine.map(({ event }, index) => {
    const hash = sealHash(previous, first + index, event);
    previous = hash;
    return { event, sequence: first + index, hash };
  });
  await insertSeals(transaction, sealed);
}

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
