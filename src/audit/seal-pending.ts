import type { Logger } from "pino";
import { findHead, insertSeals, listPending, lockSealer, type SealedEvent } from "../postgres/audit.ts";
import type { Database, Storage } from "../postgres/storage.ts";
import { CHAIN_START, sealHash } from "./chain.ts";
import type { AuditSigner } from "./signer.ts";

/** Events per transaction. */
const BATCH = 1000;

export interface SealerDeps {
  readonly storage: Pick<Storage, "read" | "transaction">;
  readonly signer: AuditSigner;
  readonly log: Logger;
}

/**
 * Gives every event that was committed before the call its place in the chain. Apart from what makes events, which
 * would have to queue for the head of the chain otherwise; one sealer works at a time, the others wait for it.
 */
export async function sealPending(deps: SealerDeps): Promise<void> {
  for (;;) {
    const sealed = await deps.storage.transaction((transaction) => sealBatch(transaction, deps));
    if (sealed < BATCH) return;
  }
}

/**
 * `sealPending` for one process, at most once at a time: sealers of one process would only wait for each other, each on
 * a connection. A call that comes while events are sealed shares the next sealing with all that come until it begins,
 * so that it finds everything that was committed before the call.
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

async function sealBatch(transaction: Database, { signer, log }: SealerDeps): Promise<number> {
  await lockSealer(transaction);
  const pending = await listPending(transaction, BATCH);
  const genuine = pending.filter(({ event, signature }) => signer.check(event, signature) !== "bad");
  if (genuine.length < pending.length) {
    log.error(
      { event: "audit.forged", count: pending.length - genuine.length },
      "audit events that Claviger did not write; run `claviger audit verify`",
    );
  }
  if (genuine.length === 0) return 0;
  const head = await findHead(transaction);
  let previous = head?.hash ?? CHAIN_START;
  const first = (head?.sequence ?? 0) + 1;
  const sealed: SealedEvent[] = genuine.map(({ event }, index) => {
    const hash = sealHash(previous, first + index, event);
    previous = hash;
    return { event, sequence: first + index, hash };
  });
  await insertSeals(transaction, sealed);
  return sealed.length;
}
