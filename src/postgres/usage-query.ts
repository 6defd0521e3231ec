import { type SQL, sql } from "drizzle-orm";
import { apiKey, usageBatch, usageHour, usageMinute } from "./schema.ts";
import type { Database } from "./storage.ts";
import { boundedSum, deltaRows, isRow } from "./usage-ledger.ts";

/** The dimensions of counts. */
export type UsageDimension = "verdict" | "method" | "version" | "key";

/** The width of a point. */
export type UsageStep = "minute" | "hour" | "day";

export interface UsageQuery {
  /** Neither: all keys. */
  readonly keyId?: string;
  readonly owner?: string;
  /** First instant counted, and first not counted any more; both at the beginning of a step. */
  readonly startTime: Date;
  readonly endTime: Date;
  readonly step: UsageStep;
  readonly groupBy: readonly UsageDimension[];
  /** Longest answer. */
  readonly limit: number;
}

export interface UsageCount {
  readonly startTime: Date;
  /** Values in the order of `groupBy`. */
  readonly group: readonly string[];
  readonly count: number;
}

const COLUMNS: Readonly<Record<UsageDimension, SQL>> = {
  verdict: sql.raw("verdict"),
  method: sql.raw("method"),
  version: sql.raw("version::text"),
  key: sql.raw("key_id"),
};

/** Counts in order of time, without zeros: folded and waiting ones in one statement, so that none counts twice. */
export function queryUsage(database: Database, query: UsageQuery): Promise<UsageCount[]> {
  const { step, groupBy, limit } = query;
  const values = groupBy.map((dimension) => COLUMNS[dimension]);
  const group = values.length === 0 ? sql`'{}'::text[]` : sql`array[${sql.join(values, sql`, `)}]`;
  const folded = sql`select time, key_id, caller_id, version, verdict, method, count
    from ${step === "minute" ? usageMinute : usageHour}`;
  const waiting = sql`select at, k, c, v, x, m, n from ${usageBatch} as batch, ${deltaRows} where ${isRow}`;
  return database
    .select({
      startTime: sql`date_trunc(${sql.raw(`'${step}'`)}, time, 'UTC')`.mapWith(apiKey.createTime),
      group: sql<string[]>`${group}`,
      count: boundedSum("count").mapWith(Number),
    })
    .from(sql`(${folded} union all ${waiting}) as counts`)
    .where(matches(query))
    .groupBy(sql`1`, sql`2`)
    .orderBy(sql`1`, sql`2`)
    .limit(limit);
}

/** The charges to a key since `startTime`, as far as the ledger has them. */
export async function readCharged(database: Database, keyId: string, startTime: Date): Promise<number> {
  const folded = sql`select time, key_id, verdict, cost from ${usageHour}`;
  const waiting = sql`select at, k, x, o from ${usageBatch} as batch, ${deltaRows} where ${isRow}`;
  const [row] = await database
    .select({ cost: boundedSum("cost").mapWith(Number) })
    .from(sql`(${folded} union all ${waiting}) as counts`)
    .where(sql`key_id = ${keyId} and verdict = 'valid' and time >= ${startTime.toISOString()}::timestamptz`);
  return row?.cost ?? 0;
}

/** Verifications of secrets that belong to no key are counted under the key of the caller that asked. */
function matches({ keyId, owner, startTime, endTime }: UsageQuery): SQL {
  const span = sql`time >= ${startTime.toISOString()}::timestamptz and time < ${endTime.toISOString()}::timestamptz`;
  if (keyId !== undefined) {
    return sql`${span} and key_id in (${keyId}, '') and (key_id = ${keyId} or caller_id = ${keyId})`;
  }
  if (owner === undefined) return span;
  // As an array, which the counts' index takes; as a join they would be read from end to end.
  const owned = sql`array(select id from ${apiKey} where owner = ${owner})`;
  return sql`${span} and key_id = any(${owned} || ''::text) and (key_id <> '' or caller_id = any(${owned}))`;
}
