import { sql } from "drizzle-orm";
import type { UsageBatch, UsageDelta } from "../keys/usage-delta.ts";
import {
  apiKey,
  keyLastUsed,
  revision,
  usageBatch,
  usageHour,
  usageMinute,
  usageRejected,
  usageSource,
} from "./schema.ts";
import type { Database } from "./storage.ts";
import { databaseTime } from "./time.ts";

/** How far from now a source's clock may place what it counted. */
const OLDEST = sql`interval '7 days'`;
const NEWEST = sql`interval '5 minutes'`;
/** Any number that no other advisory lock of this database uses. */
const FOLDER_LOCK = 0x75736167;

/** The rows of `batch.deltas`, with the minute in `at`, kept near the database's time when the batch was taken. */
export const deltaRows = sql`jsonb_to_recordset(batch.deltas)
    as d(k text, c text, v integer, x text, m text, t bigint, n bigint, o bigint, l bigint),
  lateral (select greatest(least(to_timestamp(d.t * 60), date_trunc('minute', batch.time + ${NEWEST})),
    date_trunc('minute', batch.time - ${OLDEST})) as at) as clamped`;

/**
 * Adds a batch, if it is the next of its source, in one statement. The source's row is what keeps a batch from being
 * taken twice, on however many connections it comes.
 */
export async function appendUsage(
  database: Database,
  { epoch, seq, deltas }: UsageBatch,
): Promise<"taken" | "known" | "gap"> {
  const rows = JSON.stringify(deltas.map(toRow));
  const begun = database.$with("begun", {}).as(sql`insert into ${usageSource} (epoch, last_seq)
    select ${epoch}::text, 1 where ${seq}::bigint = 1 on conflict do nothing returning epoch`);
  const moved = database.$with("moved", {}).as(sql`update ${usageSource} set last_seq = ${seq}
    where epoch = ${epoch} and last_seq = ${seq}::bigint - 1 returning epoch`);
  const written = database.$with("written", {}).as(sql`insert into ${usageBatch} (epoch, seq, size, deltas)
    select source.epoch, ${seq}::bigint, ${deltas.length}::integer, ${rows}::jsonb
    from (select epoch from begun union all select epoch from moved) as source returning seq`);
  const [answer] = await database
    .with(begun, moved, written)
    .select({
      isTaken: sql<boolean>`exists (select from written)`,
      isBehind: sql<boolean>`coalesce((select last_seq from ${usageSource} where epoch = ${epoch}), 0) < ${seq}::bigint - 1`,
    })
    .from(revision);
  if (answer?.isTaken) return "taken";
  // The snapshot is from before: where it has the batch before this one, somebody else has just added this one.
  return answer?.isBehind ? "gap" : "known";
}

/** A batch of the ledger. */
export type BatchName = Pick<UsageBatch, "epoch" | "seq">;

/**
 * Adds batches of up to about `rows` rows to the counts, oldest first, and takes them off the ledger; all in one
 * statement, so that a count is in one place or the other. Returns how many; 0 too while another process folds.
 */
export async function foldUsage(database: Database, rows: number, only?: BatchName): Promise<number> {
  const which = only === undefined ? sql`true` : sql`epoch = ${only.epoch} and seq = ${only.seq}`;
  const locked = database.$with("locked", {}).as(sql`select pg_try_advisory_xact_lock(${FOLDER_LOCK}) as ok`);
  const due = database.$with("due", {}).as(sql`select epoch, seq from (
      select epoch, seq, sum(size) over (order by time, epoch, seq) - size as before from ${usageBatch} where ${which}
    ) as queue where before < ${rows}::bigint and (select ok from locked)`);
  const batch = database.$with("batch", {}).as(sql`delete from ${usageBatch} using due
    where ${usageBatch.epoch} = due.epoch and ${usageBatch.seq} = due.seq returning ${usageBatch.deltas} as deltas, ${usageBatch.time} as time`);
  const delta = database.$with("delta", {}).as(sql`select at, k, c, v, x, m, n, o, l from batch, ${deltaRows}`);
  const minutes = database.$with("minutes", {}).as(addTo(usageMinute, "minute"));
  const hours = database.$with("hours", {}).as(addTo(usageHour, "hour"));
  const used = database.$with("used", {}).as(sql`insert into ${keyLastUsed} (key_id, version, time)
    select k, v, least(to_timestamp(max(l)), ${databaseTime}) from delta
    where x = 'valid' and exists (select from ${apiKey} where ${apiKey.id} = k) group by k, v order by k, v
    on conflict (key_id, version) do update set time = greatest(${keyLastUsed.time}, excluded.time)`);
  const [answer] = await database
    .with(locked, due, batch, delta, minutes, hours, used)
    .select({ batches: sql<number>`(select count(*) from batch)`.mapWith(Number) })
    .from(revision);
  return answer?.batches ?? 0;
}

/** The oldest batches. */
export function listBatches(database: Database, limit: number): Promise<BatchName[]> {
  return database
    .select({ epoch: usageBatch.epoch, seq: usageBatch.seq })
    .from(usageBatch)
    .orderBy(usageBatch.time, usageBatch.epoch, usageBatch.seq)
    .limit(limit);
}

/** Sets a batch aside that cannot be folded, with the SQLSTATE that it met. */
export async function rejectBatch(database: Database, { epoch, seq }: BatchName, code: string): Promise<void> {
  const batch = database.$with("batch", {}).as(sql`delete from ${usageBatch}
    where epoch = ${epoch} and seq = ${seq} returning epoch, seq, deltas`);
  const kept = database.$with("kept", {}).as(sql`insert into ${usageRejected} (epoch, seq, deltas, code)
    select epoch, seq, deltas, ${code}::text from batch`);
  await database.with(batch, kept).select({ rev: revision.rev }).from(revision);
}

/** Makes partitions for what comes. In a transaction of its own: it locks what everybody uses, for a moment. */
export async function makePartitions(database: Database): Promise<void> {
  await database.execute(sql`select claviger_make_usage_partitions()`);
}

/** Drops partitions that are older than is kept; in a transaction of its own too. */
export async function dropPartitions(
  database: Database,
  kept: { readonly minutesMs: number; readonly hoursMs: number },
): Promise<void> {
  const [minutes, hours] = [kept.minutesMs, kept.hoursMs].map((ms) => sql`${ms} * interval '1 millisecond'`);
  await database.execute(sql`select claviger_drop_usage_partitions(${minutes}, ${hours})`);
}

/** In the order of the primary key, as everybody's. */
function addTo(table: typeof usageMinute | typeof usageHour, width: "minute" | "hour") {
  return sql`insert into ${table} (time, key_id, caller_id, version, verdict, method, count, cost)
    select date_trunc(${sql.raw(`'${width}'`)}, at, 'UTC') as time, k, c, v, x, m, sum(n), sum(o) from delta
    group by 1, k, c, v, x, m order by k, 1, c, v, x, m
    on conflict (key_id, time, caller_id, version, verdict, method)
    do update set count = ${table.count} + excluded.count, cost = ${table.cost} + excluded.cost`;
}

function toRow({ keyId, callerId, version, verdict, method, minute, count, cost, lastSecond }: UsageDelta) {
  return { k: keyId, c: callerId, v: version, x: verdict, m: method, t: minute, n: count, o: cost, l: lastSecond };
}
