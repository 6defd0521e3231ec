import { type SQL, sql } from "drizzle-orm";
import { MOST_COUNTED, type UsageBatch, type UsageDelta } from "../keys/usage-delta.ts";
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

/** Sources of one agent's key that are remembered: 15 MB of table. A new one beyond them waits. */
export const MOST_SOURCES = 100_000;
/** Longest texts that can be counted under: an index of Postgres takes no more than 2,704 bytes in all. */
const ID_CHARACTERS = 64;
const METHOD_CHARACTERS = 256;
/** Different methods of one key and hour; a service has some dozen, and paths with ids in them are endless. */
const MOST_METHODS = 100;
const OTHER_METHODS = "(other methods)";
/** Minutes since 1970, in the year 2160: times are kept near the batch's anyway, once they are times. */
const LAST_MINUTE = 100_000_000;
/** SQLSTATE for a row that cannot be read: invalid_parameter_value. */
const NO_ROW = "22023";
const most = sql.raw(String(MOST_COUNTED));
/** The calling key of an agent's source; a server's source has none, and stands for itself. */
const callerOf = sql`split_part(${usageSource.epoch}, '/', 1)`;
/** A batch that holds something else than rows is taken for one. */
const elements = sql.raw(
  `jsonb_array_elements(case jsonb_typeof(batch.deltas) when 'array' then batch.deltas else jsonb_build_array(batch.deltas) end)`,
);

/**
 * The rows of `batch.deltas`, with the minute in `at`, clamped to the database's time when the batch was taken. Reading
 * never fails: numbers stay within their bounds, and a broken row has a null. See docs/decisions/0010-usage-ledger.md.
 */
export const deltaRows = sql`lateral (select raw,
    left(raw ->> 'k', ${sql.raw(String(ID_CHARACTERS))}) as k,
    left(raw ->> 'c', ${sql.raw(String(ID_CHARACTERS))}) as c,
    left(raw ->> 'x', ${sql.raw(String(ID_CHARACTERS))}) as x,
    left(raw ->> 'm', ${sql.raw(String(METHOD_CHARACTERS))}) as m,
    ${number("v", 2 ** 31 - 1)}::integer as v, ${number("n", MOST_COUNTED)}::bigint as n, ${number("o", MOST_COUNTED)}::bigint as o,
    to_timestamp(${number("t", LAST_MINUTE)} * 60) as t, to_timestamp(${number("l", LAST_MINUTE * 60)}) as l
    from ${elements} as element(raw)
    -- Else each is worked out again wherever it is used.
    offset 0) as d,
  lateral (select greatest(least(t, date_trunc('minute', batch.time + ${NEWEST})),
    date_trunc('minute', batch.time - ${OLDEST})) as at) as clamped`;

/** Whether one of `deltaRows` can be counted. */
export const isRow = sql`num_nulls(k, c, x, m, v, n, o, t, l) = 0`;

/** A sum of counts or costs that stays within what can be stored and told; 0 of none, for which `least` alone is `most`. */
export function boundedSum(name: "count" | "cost" | "n" | "o"): SQL {
  return sql.raw(`least(coalesce(sum(${name}), 0), ${MOST_COUNTED})`);
}

/** A number of a row, from 0 to `most`; null if it is none. */
function number(name: string, most: number): SQL {
  return sql.raw(
    `case jsonb_typeof(raw -> '${name}') when 'number' then least(greatest(trunc((raw -> '${name}')::numeric), 0), ${most})::double precision end`,
  );
}

/**
 * Adds a batch, if it is the next of its source, in one statement. The source's row is what keeps a batch from being
 * taken twice, on however many connections it comes. A batch without rows only moves its source on.
 */
export async function appendUsage(
  database: Database,
  { epoch, seq, deltas }: UsageBatch,
): Promise<"taken" | "known" | "gap" | "full"> {
  const rows = JSON.stringify(deltas.map(toRow));
  const [caller] = epoch.split("/", 1);
  const room = database.$with("room", {}).as(sql`select count(*) < ${MOST_SOURCES} as ok
    from (select from ${usageSource} where ${callerOf} = ${caller} limit ${MOST_SOURCES}) as sources`);
  const begun = database.$with("begun", {}).as(sql`insert into ${usageSource} (epoch, last_seq, time)
    select ${epoch}::text, 1, ${databaseTime} where ${seq}::bigint = 1 and (select ok from room)
    on conflict do nothing returning epoch`);
  const moved = database.$with("moved", {}).as(sql`update ${usageSource} set last_seq = ${seq}, time = ${databaseTime}
    where epoch = ${epoch} and last_seq = ${seq}::bigint - 1 returning epoch`);
  const written = database.$with("written", {}).as(sql`insert into ${usageBatch} (epoch, seq, size, deltas)
    select source.epoch, ${seq}::bigint, ${deltas.length}::integer, ${rows}::jsonb
    from (select epoch from begun union all select epoch from moved) as source where ${deltas.length}::integer > 0`);
  const last = sql`(select last_seq from ${usageSource} where epoch = ${epoch})`;
  const [answer] = await database
    .with(room, begun, moved, written)
    .select({
      isTaken: sql<boolean>`exists (select from begun) or exists (select from moved)`,
      isBehind: sql<boolean>`coalesce(${last}, 0) < ${seq}::bigint - 1`,
      isFull: sql<boolean>`${seq}::bigint = 1 and ${last} is null and not (select ok from room)`,
    })
    .from(revision);
  if (answer?.isTaken) return "taken";
  if (answer?.isFull) return "full";
  // The snapshot is older: if it has the batch before this one, another process has just added this one.
  return answer?.isBehind ? "gap" : "known";
}

/** Forgets sources of which nothing came for longer than a batch may wait. */
export async function forgetSources(database: Database, silentMs: number): Promise<void> {
  await database.execute(
    sql`delete from ${usageSource} where time < ${databaseTime} - ${silentMs} * interval '1 millisecond'`,
  );
}

/** A batch of the ledger. */
export type BatchName = Pick<UsageBatch, "epoch" | "seq">;

/** The outcome of folding batches. */
export interface Folded {
  readonly batches: number;
  /** Rows of them that could not be read, and were set aside. */
  readonly rejectedRows: number;
}

/**
 * Adds batches of up to about `rows` rows to the counts, oldest first, and takes them off the ledger; all in one
 * statement, so that a count is in one place or the other. No batches too while another process folds.
 */
export async function foldUsage(database: Database, rows: number, only?: BatchName): Promise<Folded> {
  const which = only === undefined ? sql`true` : sql`epoch = ${only.epoch} and seq = ${only.seq}`;
  const locked = database.$with("locked", {}).as(sql`select pg_try_advisory_xact_lock(${FOLDER_LOCK}) as ok`);
  const due = database.$with("due", {}).as(sql`select epoch, seq from (
      select epoch, seq, sum(size) over (order by time, epoch, seq) - size as before from ${usageBatch} where ${which}
    ) as queue where before < ${rows}::bigint and (select ok from locked)`);
  const batch = database.$with("batch", {}).as(sql`delete from ${usageBatch} using due
    where ${usageBatch.epoch} = due.epoch and ${usageBatch.seq} = due.seq
    returning ${usageBatch.epoch} as epoch, ${usageBatch.seq} as seq, ${usageBatch.deltas} as deltas, ${usageBatch.time} as time`);
  const row = database.$with("parsed", {}).as(sql`select epoch, seq, raw, at, date_trunc('hour', at, 'UTC') as hour,
      k, c, v, x, m, n, o, l, ${isRow} as ok from batch, ${deltaRows}`);
  const rejected = database.$with("rejected", {}).as(sql`insert into ${usageRejected} (epoch, seq, deltas, code)
    select epoch, seq, jsonb_agg(raw), ${NO_ROW} from parsed where not ok group by epoch, seq on conflict do nothing`);
  // For each hour of a key: its methods, and the new ones beyond the number that it may have.
  const known = database.$with("known", {}).as(sql`select k, c, hour, array(select distinct method from ${usageHour}
      where key_id = k and time = hour and caller_id = c and method not in ('', ${OTHER_METHODS})) as methods
    from (select distinct k, c, hour from parsed where ok) as span
    -- Else they are looked up for each row, and not for each hour of a key.
    offset 0`);
  const excess = database.$with("excess", {}).as(sql`select k, c, hour, m from (
      select k, c, hour, m, cardinality(methods) + row_number() over (partition by k, c, hour order by m) as place
      from (select distinct k, c, hour, m from parsed where ok and m not in ('', ${OTHER_METHODS})) as named
      join known using (k, c, hour) where m <> all (methods)
    ) as fresh where place > ${MOST_METHODS}`);
  const delta = database.$with("delta", {}).as(sql`select at, k, c, v, x, n, o, l,
      case when excess.m is null then parsed.m else ${OTHER_METHODS} end as m
    from parsed left join excess using (k, c, hour, m) where ok`);
  const minutes = database.$with("minutes", {}).as(addTo(usageMinute, "minute"));
  const hours = database.$with("hours", {}).as(addTo(usageHour, "hour"));
  const used = database.$with("used", {}).as(sql`insert into ${keyLastUsed} (key_id, version, time)
    select k, v, least(max(l), ${databaseTime}) from delta
    where x = 'valid' and exists (select from ${apiKey} where ${apiKey.id} = k) group by k, v order by k, v
    on conflict (key_id, version) do update set time = greatest(${keyLastUsed.time}, excluded.time)`);
  const [answer] = await database
    .with(locked, due, batch, row, rejected, known, excess, delta, minutes, hours, used)
    .select({
      batches: sql`(select count(*) from batch)`.mapWith(Number),
      rejectedRows: sql`(select count(*) from parsed where not ok)`.mapWith(Number),
    })
    .from(revision);
  return answer ?? { batches: 0, rejectedRows: 0 };
}

/** The oldest batches. */
export function listBatches(database: Database, limit: number): Promise<BatchName[]> {
  return database
    .select({ epoch: usageBatch.epoch, seq: usageBatch.seq })
    .from(usageBatch)
    .orderBy(usageBatch.time, usageBatch.epoch, usageBatch.seq)
    .limit(limit);
}

/** Makes two batches of one, in its place; of one that has fewer than two rows nothing, and then it returns none. */
export async function splitBatch(database: Database, { epoch, seq }: BatchName): Promise<BatchName[]> {
  const batch = database.$with("batch", {}).as(sql`delete from ${usageBatch}
    where epoch = ${epoch} and seq = ${seq} and jsonb_typeof(deltas) = 'array' and jsonb_array_length(deltas) > 1
    returning deltas, time`);
  const row = database.$with("parsed", {}).as(sql`select raw, place, 2 * place > count(*) over () as is_second, time
    from batch, ${elements} with ordinality as element(raw, place)`);
  const halves = database.$with("halves", {}).as(sql`insert into ${usageBatch} (epoch, seq, size, deltas, time)
    select ${epoch}::text || case when is_second then '/2' else '/1' end, ${seq}::bigint, count(*),
      jsonb_agg(raw order by place), time
    from parsed group by is_second, time returning epoch, seq`);
  const [answer] = await database
    .with(batch, row, halves)
    .select({ names: sql<string[]>`array(select epoch from halves order by epoch)` })
    .from(revision);
  return (answer?.names ?? []).map((name) => ({ epoch: name, seq }));
}

/** Sets a batch aside that cannot be folded, with the SQLSTATE that it met. */
export async function rejectBatch(database: Database, { epoch, seq }: BatchName, code: string): Promise<void> {
  const batch = database.$with("batch", {}).as(sql`delete from ${usageBatch}
    where epoch = ${epoch} and seq = ${seq} returning epoch, seq, deltas`);
  const kept = database.$with("kept", {}).as(sql`insert into ${usageRejected} (epoch, seq, deltas, code)
    select epoch, seq, deltas, ${code}::text from batch`);
  await database.with(batch, kept).select({ rev: revision.rev }).from(revision);
}

/**
 * Makes the next partitions. Runs in a transaction of its own: it locks a table that every writer uses, for a moment.
 */
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

/** In the order of the primary key, as every writer. Sums are numeric, so that none overflows before it is bounded. */
function addTo(table: typeof usageMinute | typeof usageHour, width: "minute" | "hour") {
  return sql`insert into ${table} (time, key_id, caller_id, version, verdict, method, count, cost)
    select date_trunc(${sql.raw(`'${width}'`)}, at, 'UTC') as time, k, c, v, x, m, ${boundedSum("n")}, ${boundedSum("o")}
    from delta group by 1, k, c, v, x, m order by k, 1, c, v, x, m
    on conflict (key_id, time, caller_id, version, verdict, method)
    do update set count = least(${table.count}::numeric + excluded.count, ${most}),
      cost = least(${table.cost}::numeric + excluded.cost, ${most})`;
}

function toRow({ keyId, callerId, version, verdict, method, minute, count, cost, lastSecond }: UsageDelta) {
  return { k: keyId, c: callerId, v: version, x: verdict, m: method, t: minute, n: count, o: cost, l: lastSecond };
}
