import { and, eq, gt, isNull, lt, sql } from "drizzle-orm";
import { MAX_NAMED_KEYS } from "../keys/change.ts";
import { databaseIdentity } from "./revisions.ts";
import { invalidation, revision, verifier } from "./schema.ts";
import { prepared } from "./statements.ts";
import type { Database } from "./storage.ts";
import { databaseTime } from "./time.ts";

/** A process as it registers. */
export interface NewVerifier {
  readonly epoch: string;
  /** Ids of the root secrets it knows. */
  readonly roots: readonly string[];
  readonly address: string;
  readonly termMs: number;
  readonly usesRevocationSet: boolean;
}

const seen = { revision: revision.rev, setMarker: revision.setMarker, identity: databaseIdentity };

/**
 * Adds the process, or lets it begin again, and reads the last revision in the same statement. It acknowledges nothing:
 * one that was given up may arrive late, when the process has long registered again and knows less than it would say.
 */
export async function registerVerifier(database: Database, row: NewVerifier) {
  const again = { ...row, renewTime: databaseTime, collectTime: null };
  const registered = database.$with("registered").as(
    database
      .insert(verifier)
      .values({ ...again, ackedRevision: 0, renewSeq: 1 })
      .onConflictDoUpdate({ target: verifier.epoch, set: { ...again, renewSeq: sql`${verifier.renewSeq} + 1` } })
      .returning({ epoch: verifier.epoch }),
  );
  const [answer] = await database.with(registered).select(seen).from(revision).innerJoin(registered, sql`true`);
  if (answer === undefined) throw new Error("a registration wrote no row");
  return answer;
}

/**
 * Renews the row by a write (docs/protocol/revocation.md#r13) and reads what is new, in one statement and so from one
 * snapshot (docs/protocol/revocation.md#r6); undefined if the row is gone or was collected.
 */
export async function renewVerifier(
  database: Database,
  lease: {
    readonly epoch: string;
    readonly identity: string;
    readonly appliedRevision: number;
    readonly ackedRevision: number;
  },
) {
  const renewed = database.$with("renewed").as(
    database
      .update(verifier)
      .set({
        renewSeq: sql`${verifier.renewSeq} + 1`,
        ackedRevision: sql`case when ${databaseIdentity} = ${lease.identity}
          then greatest(${verifier.ackedRevision}, ${lease.ackedRevision}::bigint) else ${verifier.ackedRevision} end`,
        renewTime: databaseTime,
      })
      .where(and(eq(verifier.epoch, lease.epoch), isNull(verifier.collectTime)))
      .returning({ epoch: verifier.epoch }),
  );
  const keyIds = sql<string[]>`array(select distinct ${invalidation.keyId} from ${invalidation}
    where ${invalidation.rev} > ${lease.appliedRevision} limit ${MAX_NAMED_KEYS + 1})`;
  const [answer] = await database
    .with(renewed)
    .select({ ...seen, trimmedRevision: revision.trimmedRev, keyIds })
    .from(revision)
    .innerJoin(renewed, sql`true`);
  if (answer === undefined) return undefined;
  return answer.keyIds.length > MAX_NAMED_KEYS ? { ...answer, keyIds: "all" as const } : answer;
}

/** Takes the process off the list. */
export async function removeVerifier(database: Database, epoch: string): Promise<void> {
  await database.delete(verifier).where(eq(verifier.epoch, epoch));
}

/** Every process on the list, those that were given up too. */
export function listHolders(database: Database) {
  const list = prepared(database, "list_holders", () =>
    database
      .select({
        epoch: verifier.epoch,
        address: verifier.address,
        termMs: verifier.termMs,
        ackedRevision: verifier.ackedRevision,
        renewSeq: verifier.renewSeq,
        usesRevocationSet: verifier.usesRevocationSet,
        isCollected: sql<boolean>`${verifier.collectTime} is not null`,
      })
      .from(verifier),
  );
  return list.execute();
}

/** Gives a process up, unless it has renewed since; returns whether it did. */
export async function collectVerifier(database: Database, epoch: string, renewSeq: number): Promise<boolean> {
  const rows = await database
    .update(verifier)
    .set({ collectTime: databaseTime })
    .where(and(eq(verifier.epoch, epoch), eq(verifier.renewSeq, renewSeq), isNull(verifier.collectTime)))
    .returning({ epoch: verifier.epoch });
  return rows.length === 1;
}

/** Forgets processes that were given up more than `ageMs` ago. */
export async function forgetCollected(database: Database, ageMs: number): Promise<void> {
  const before = sql`${databaseTime} - ${ageMs} * interval '1 millisecond'`;
  await database.delete(verifier).where(lt(verifier.collectTime, before));
}

/** After this long without a renewal a process' roots no longer count. */
const GONE_AFTER = sql`interval '30 seconds'`;

/** The roots that each running process knows. */
export async function listKnownRoots(database: Database): Promise<(readonly string[])[]> {
  const rows = await database
    .select({ roots: verifier.roots })
    .from(verifier)
    .where(and(isNull(verifier.collectTime), gt(verifier.renewTime, sql`${databaseTime} - ${GONE_AFTER}`)));
  return rows.map((row) => row.roots);
}
