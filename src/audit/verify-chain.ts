import type { ChainHead, Signature } from "../keys/audit-event.ts";
import { type ChainRow, findHead, listPending, listStrays, type SignedEvent, walkChain } from "../postgres/audit.ts";
import type { Storage } from "../postgres/storage.ts";
import { type AuditSigner, CHAIN_START, type SignatureCheck, sealHash } from "./signer.ts";

/** The queries that the check needs. */
export type ReadableStorage = Pick<Storage, "read">;

const BATCH = 1000;

/** A head that was copied elsewhere. */
export interface KeptHead extends ChainHead {
  readonly signature: Signature;
}

/** An entry of the log, and its problem. */
export interface Finding {
  readonly place: string;
  readonly what: string;
}

export interface ChainCheck {
  /** The last position that was reached. */
  readonly head: ChainHead;
  /** Events that were read, including those that wait for a position. */
  readonly events: number;
  /** The first problem; undefined without one. */
  readonly problem: Finding | undefined;
  /** Events of a root secret that is neither configured nor vouched for: their author cannot be verified. */
  readonly unchecked: { readonly count: number; readonly first: Finding | undefined };
}

const UNCHECKED = "it names a root secret that is neither configured nor vouched for by one that is";

/**
 * Walks the whole chain and reports the first row that was changed, removed, inserted or moved. Only a head that was
 * copied elsewhere shows that the end was cut off.
 */
export async function verifyChain(
  storage: ReadableStorage,
  signer: AuditSigner,
  kept: KeptHead | undefined,
): Promise<ChainCheck> {
  const walk = new Walk(signer, kept);
  const problem =
    walk.problemOfKeptHead() ??
    (await walkPlaces(storage, walk)) ??
    walk.cutOff() ??
    (await findStray(storage)) ??
    (await walkPending(storage, walk));
  return { head: walk.head, events: walk.events, problem, unchecked: walk.unchecked };
}

/** The state of the check while it reads the log from its beginning. */
class Walk {
  readonly #signer: AuditSigner;
  readonly #kept: KeptHead | undefined;
  head: ChainHead = { sequence: 0, hash: CHAIN_START };
  events = 0;
  unchecked: ChainCheck["unchecked"] = { count: 0, first: undefined };

  constructor(signer: AuditSigner, kept: KeptHead | undefined) {
    this.#signer = signer;
    this.#kept = kept;
  }

  problemOfKeptHead(): Finding | undefined {
    if (this.#kept === undefined) return undefined;
    const check = this.#signer.checkHead(this.#kept, this.#kept.signature);
    const whats = {
      good: undefined,
      bad: "its signature is wrong: it was not printed by this Claviger",
      unknown: UNCHECKED,
    };
    const what = whats[check];
    return what === undefined ? undefined : { place: "the kept head", what };
  }

  /** Appends the row, unless it has a problem. */
  step(row: ChainRow): Finding | undefined {
    const place = `sequence ${this.head.sequence + 1} (${row.eventId})`;
    const what = this.#problemOf(row, place);
    if (what !== undefined) return { place, what };
    // An earlier event that cannot be checked may be the cause: it hides behind hashes that any program can compute.
    if (this.#disagrees(row)) return this.unchecked.first ?? { place, what: DISAGREES };
    this.head = row;
    return undefined;
  }

  /** Checks an event that waits for a position. */
  wait({ event, signature }: SignedEvent): Finding | undefined {
    const check = this.#check(event.id, { event, signature });
    return check === "bad" ? { place: event.id, what: "not inserted by Claviger: its signature is wrong" } : undefined;
  }

  cutOff(): Finding | undefined {
    const last = this.#kept?.sequence ?? 0;
    if (this.head.sequence >= last) return undefined;
    return { place: `sequence ${this.head.sequence + 1}`, what: `removed, with everything up to ${last}` };
  }

  #problemOf(row: ChainRow, place: string): string | undefined {
    if (row.sequence !== this.head.sequence + 1) return "removed: the chain goes on after it";
    if (row.signed === undefined) return "removed: its place in the chain is left";
    if (this.#check(place, row.signed) === "bad") return "changed, or not inserted by Claviger: its signature is wrong";
    if (!sealHash(this.head.hash, row.sequence, row.signed.event).equals(row.hash))
      return "changed or moved: it does not follow from the event before it";
    return undefined;
  }

  #check(place: string, { event, signature }: SignedEvent): SignatureCheck {
    const check = this.#signer.check(event, signature);
    this.events++;
    if (check === "unknown") {
      const first = this.unchecked.first ?? { place, what: UNCHECKED };
      this.unchecked = { count: this.unchecked.count + 1, first };
    }
    return check;
  }

  #disagrees(row: ChainRow): boolean {
    return this.#kept?.sequence === row.sequence && !this.#kept.hash.equals(row.hash);
  }
}

const DISAGREES = "changed: the chain up to here is not the one whose head was kept";

async function walkPlaces(storage: ReadableStorage, walk: Walk): Promise<Finding | undefined> {
  for (;;) {
    const rows = await storage.read((database) => walkChain(database, walk.head.sequence, BATCH));
    for (const row of rows) {
      const problem = walk.step(row);
      if (problem !== undefined) return problem;
    }
    if (rows.length < BATCH) return undefined;
  }
}

/** Reports an event outside the chain that does not wait for a position: no transaction of Claviger leaves one. */
async function findStray(storage: ReadableStorage): Promise<Finding | undefined> {
  const [stray] = await storage.read((database) => listStrays(database, 1));
  return stray === undefined
    ? undefined
    : { place: stray, what: "inserted: it is not in the chain and does not wait for a place in it" };
}

async function walkPending(storage: ReadableStorage, walk: Walk): Promise<Finding | undefined> {
  let after: SignedEvent["event"] | undefined;
  for (;;) {
    const page = await storage.read((database) => listPending(database, { limit: BATCH, after }));
    for (const waiting of page) {
      const problem = walk.wait(waiting);
      if (problem !== undefined) return problem;
    }
    after = page.at(-1)?.event;
    if (page.length < BATCH) return undefined;
  }
}

/** The signed end of the chain, for a copy elsewhere; undefined while the chain is empty. */
export async function signedHead(storage: ReadableStorage, signer: AuditSigner): Promise<KeptHead | undefined> {
  const head = await storage.read(findHead);
  return head && { ...head, signature: signer.signHead(head) };
}

/** Encodes a signed head as JSON, for a copy outside the database. */
export function headToJson({ sequence, hash, signature }: KeptHead): string {
  const { rootId, mac } = signature;
  return JSON.stringify({ sequence, hash: hash.toString("hex"), root: rootId, signature: mac.toString("hex") });
}

/** Parses the output of `headToJson`; undefined for any other text. */
export function headFromJson(text: string): KeptHead | undefined {
  const value = parse(text);
  if (typeof value !== "object" || value === null) return undefined;
  const { sequence, hash, root, signature } = value as Readonly<Record<string, unknown>>;
  if (typeof sequence !== "number" || typeof root !== "string") return undefined;
  if (!isHex32(hash) || !isHex32(signature)) return undefined;
  return {
    sequence,
    hash: Buffer.from(hash, "hex"),
    signature: { rootId: root, mac: Buffer.from(signature, "hex") },
  };
}

function isHex32(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
