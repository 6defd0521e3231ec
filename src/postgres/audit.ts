import { and, asc, desc, eq, getTableColumns, gt, gte, inArray, lt, notInArray, or, type SQL, sql } from "drizzle-orm";
import type { PgInsertValue } from "drizzle-orm/pg-core";
import type { AuditEvent, ChainHead, Signature } from "../keys/audit-event.ts";
import { readInstant } from "./columns.ts";
import { auditEvent, auditPending, auditSeal } from "./schema.ts";
import { places, prepared, type Statement } from "./statements.ts";
import type { Database } from "./storage.ts";

/** An event as it is stored. */
export interface SignedEvent {
  readonly event: AuditEvent;
  readonly signature: Signature;
}

/** An event in its place. */
export interface SealedEvent extends ChainHead {
  readonly event: AuditEvent;
}

/**
 * The columns of an event, readable whatever they hold: a row that Claviger did not write must not hide the others. A
 * time in a form that Claviger does not write becomes an invalid `Date`, which no signature covers.
 */
const storedEvent = {
  ...getTableColumns(auditEvent),
  time: sql`${auditEvent.time}`.mapWith(readAnyTime),
  actor: sql<AuditEvent["actor"]>`${auditEvent.actor}`,
  details: sql<AuditEvent["details"]>`${auditEvent.details}`,
};

/**
 * A place in the chain, read the same way: a value beyond safe numbers becomes a place higher than any that Claviger
 * writes.
 */
const storedSeal = {
  ...getTableColumns(auditSeal),
  sequence: sql`${auditSeal.sequence}`.mapWith(readAnySequence),
};

/** Any number that no other advisory lock of this database uses. */
const SEALER_LOCK = 0x7365616c;

/** Writes at least one event, to be sealed later, in the transaction of its change. */
export function insertEvents(transaction: Database, events: readonly SignedEvent[]): Statement<unknown> {
  const rows = events.map(({ event, signature }) => ({ ...event, root: signature.rootId, mac: signature.mac }));
  if (rows.length > 1) {
    const insert = insertRows(transaction, rows).prepare("");
    return { send: () => insert.execute() };
  }
  const insert = prepared(transaction, "insert_event", () =>
    insertRows(transaction, [places(getTableColumns(auditEvent))]),
  );
  return { send: () => insert.execute({ ...rows[0] }) };
}

function insertRows(transaction: Database, rows: PgInsertValue<typeof auditEvent>[]) {
  const written = transaction
    .$with("written")
    .as(transaction.insert(auditEvent).values(rows).returning({ eventId: auditEvent.id }));
  return transaction.with(written).insert(auditPending).select(transaction.select().from(written));
}

/** Waits to be the only sealer until the end of the transaction. */
export async function lockSealer(transaction: Database): Promise<void> {
  await transaction.execute(sql`select pg_advisory_xact_lock(${SEALER_LOCK})`);
}

/** Which events that are not sealed to list, oldest first. */
export interface PendingPage {
  readonly limit: number;
  /** Only those that say they were signed under one of these root secrets, or under none of them. */
  readonly roots?: { readonly are: "in" | "notIn"; readonly ids: readonly string[] };
  /** Only those that come after this one. */
  readonly after?: AuditEvent | undefined;
}

export async function listPending(database: Database, { limit, roots, after }: PendingPage): Promise<SignedEvent[]> {
  const rows = await database
    .select(storedEvent)
    .from(auditPending)
    .innerJoin(auditEvent, eq(auditEvent.id, auditPending.eventId))
    .where(
      and(
        roots === undefined ? undefined : (roots.are === "in" ? inArray : notInArray)(auditEvent.root, [...roots.ids]),
        after === undefined
          ? undefined
          : sql`(${auditEvent.time}, ${auditEvent.id}) > (${after.time.toISOString()}::timestamptz, ${after.id})`,
      ),
    )
    .orderBy(asc(auditEvent.time), asc(auditEvent.id))
    .limit(limit);
  return rows.map(toSigned);
}

/** Takes events off the pending ones that are not to be sealed. */
export async function removePending(transaction: Database, ids: readonly string[]): Promise<void> {
  await transaction.delete(auditPending).where(inArray(auditPending.eventId, [...ids]));
}

/** The last seal; undefined while there is none. */
export async function findHead(database: Database): Promise<ChainHead | undefined> {
  const [row] = await database.select().from(auditSeal).orderBy(desc(auditSeal.sequence)).limit(1);
  return row;
}

/** Adds places to the chain, and takes their events off the pending ones. */
export async function insertSeals(transaction: Database, sealed: readonly SealedEvent[]): Promise<void> {
  const seals = sealed.map(({ sequence, hash, event }) => ({ sequence, hash, eventId: event.id }));
  const ids = seals.map((seal) => seal.eventId);
  await transaction.insert(auditSeal).values(seals);
  const gone = await transaction
    .delete(auditPending)
    .where(inArray(auditPending.eventId, ids))
    .returning({ id: auditPending.eventId });
  if (gone.length !== ids.length) throw new Error(`sealing ${ids.length} events met ${gone.length} pending ones`);
}

/** Which events to list; all that are set must hold. */
export interface EventFilter {
  readonly keyId?: string;
  readonly owner?: string;
  /** A subject or a key id. */
  readonly actor?: string;
  readonly startTime?: Date;
  readonly endTime?: Date;
}

/** Sealed events, newest first, with places below `below`. */
export async function listEvents(
  database: Database,
  filter: EventFilter,
  page: { readonly below: number | undefined; readonly limit: number },
): Promise<SealedEvent[]> {
  const rows = await database
    .select({ seal: storedSeal, row: storedEvent })
    .from(auditSeal)
    .innerJoin(auditEvent, eq(auditEvent.id, auditSeal.eventId))
    .where(and(matches(filter), page.below === undefined ? undefined : lt(auditSeal.sequence, page.below)))
    .orderBy(desc(auditSeal.sequence))
    .limit(page.limit);
  return rows.map(({ seal, row }) => ({ sequence: seal.sequence, hash: seal.hash, ...toSigned(row) }));
}

/** A place of the chain as found; its event may be missing. */
export interface ChainRow extends ChainHead {
  readonly eventId: string;
  readonly signed: SignedEvent | undefined;
}

/** Up to `limit` places after `after`, in order. */
export async function walkChain(database: Database, after: number, limit: number): Promise<ChainRow[]> {
  const rows = await database
    .select({ seal: storedSeal, row: storedEvent })
    .from(auditSeal)
    .leftJoin(auditEvent, eq(auditEvent.id, auditSeal.eventId))
    .where(gt(auditSeal.sequence, after))
    .orderBy(asc(auditSeal.sequence))
    .limit(limit);
  return rows.map(({ seal, row }) => ({ ...seal, signed: row === null ? undefined : toSigned(row) }));
}

/** Ids of up to `limit` events that are neither in the chain nor waiting for a place in it. */
export async function listStrays(database: Database, limit: number): Promise<string[]> {
  const rows = await database
    .select({ id: auditEvent.id })
    .from(auditEvent)
    .leftJoin(auditSeal, eq(auditSeal.eventId, auditEvent.id))
    .leftJoin(auditPending, eq(auditPending.eventId, auditEvent.id))
    .where(sql`${auditSeal.sequence} is null and ${auditPending.eventId} is null`)
    .orderBy(asc(auditEvent.time), asc(auditEvent.id))
    .limit(limit);
  return rows.map((row) => row.id);
}

function matches(filter: EventFilter): SQL | undefined {
  const { keyId, owner, actor, startTime, endTime } = filter;
  return and(
    keyId === undefined ? undefined : eq(auditEvent.keyId, keyId),
    owner === undefined ? undefined : eq(auditEvent.owner, owner),
    actor === undefined ? undefined : or(actorIs("subject", actor), actorIs("keyId", actor)),
    startTime === undefined ? undefined : gte(auditEvent.time, startTime),
    endTime === undefined ? undefined : lt(auditEvent.time, endTime),
  );
}

function actorIs(field: "subject" | "keyId", value: string): SQL {
  return sql`${auditEvent.actor} ->> ${sql.raw(`'${field}'`)} = ${value}`;
}

function readAnyTime(value: unknown): Date {
  try {
    return readInstant(value);
  } catch {
    return new Date(Number.NaN);
  }
}

function readAnySequence(value: unknown): number {
  return Math.max(Math.min(Number(value), Number.MAX_SAFE_INTEGER), Number.MIN_SAFE_INTEGER);
}

function toSigned(row: typeof auditEvent.$inferSelect): SignedEvent {
  const { root, mac, ...event } = row;
  return { event, signature: { rootId: root, mac } };
}
