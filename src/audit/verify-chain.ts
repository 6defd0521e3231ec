import { type ChainRow, findHead, listPending, listStrays, walkChain } from "../postgres/audit.ts";
import type { Storage } from "../postgres/storage.ts";

/** What checking needs of storage. */
export type ReadableStorage = Pick<Storage, "read">;

import type { ChainHead, Signature } from "../keys/audit-event.ts";
import { CHAIN_START, sealHash } from "./chain.ts";
import type { AuditSigner } from "./signer.ts";

const BATCH = 1000;

/** A head that was kept elsewhere. */
export interface KeptHead extends ChainHead {
  readonly signature: Signature;
}

export interface ChainCheck {
  /** The last place that was reached. */
  readonly head: ChainHead;
  /** The first thing that is wrong; undefined if nothing is. */
  readonly problem: { readonly place: string; readonly what: string } | undefined;
}

/**
 * Walks the whole chain and names the first row that was changed, removed, inserted or moved. That the end was cut
 * off can only be seen against a head that was kept elsewhere.
 */
export async function verifyChain(
  storage: ReadableStorage,
  signer: AuditSigner,
  kept: KeptHead | undefined,
): Promise<ChainCheck> {
  let head: ChainHead = { sequence: 0, hash: CHAIN_START };
  if (kept !== undefined && signer.checkHead(kept, kept.signature) === "bad") {
    return {
      head,
      problem: { place: "the kept head", what: "its signature is wrong: it was not printed by this Claviger" },
    };
  }
  for (;;) {
    const rows = await storage.read((database) => walkChain(database, head.sequence, BATCH));
    for (const row of rows) {
      const what = problemOf(row, head, signer) ?? disagreement(row, kept);
      if (what !== undefined)
        return { head, problem: { place: `sequence ${head.sequence + 1} (${row.eventId})`, what } };
      head = row;
    }
    if (rows.length < BATCH) break;
  }
  if (kept !== undefined && head.sequence < kept.sequence) {
    return {
      head,
      problem: { place: `sequence ${head.sequence + 1}`, what: `removed, with everything up to ${kept.sequence}` },
    };
  }
  return { head, problem: await findIntruder(storage, signer) };
}

function problemOf(row: ChainRow, head: ChainHead, signer: AuditSigner): string | undefined {
  if (row.sequence !== head.sequence + 1) return "removed: the chain goes on after it";
  if (row.signed === undefined) return "removed: its place in the chain is left";
  const { event, signature } = row.signed;
  if (signer.check(event, signature) === "bad") return "changed, or inserted by somebody else: its signature is wrong";
  if (!sealHash(head.hash, row.sequence, event).equals(row.hash))
    return "changed or moved: it does not follow from what is before it";
  return undefined;
}

function disagreement(row: ChainRow, kept: KeptHead | undefined): string | undefined {
  if (kept === undefined || kept.sequence !== row.sequence || kept.hash.equals(row.hash)) return undefined;
  return "changed: the chain up to here is not the one whose head was kept";
}

/** Events outside the chain: those that never got a place, and those that wait for one and must not get it. */
async function findIntruder(storage: ReadableStorage, signer: AuditSigner): Promise<ChainCheck["problem"]> {
  const [stray] = await storage.read((database) => listStrays(database, 1));
  if (stray !== undefined)
    return { place: stray, what: "inserted: it is not in the chain and does not wait for a place in it" };
  const pending = await storage.read((database) => listPending(database, BATCH));
  const forged = pending.find(({ event, signature }) => signer.check(event, signature) === "bad");
  return forged && { place: forged.event.id, what: "inserted by somebody else: its signature is wrong" };
}

/** The end of the chain, signed, to be kept elsewhere; undefined while the chain is empty. */
export async function signedHead(storage: ReadableStorage, signer: AuditSigner): Promise<KeptHead | undefined> {
  const head = await storage.read(findHead);
  return head && { ...head, signature: signer.signHead(head) };
}
