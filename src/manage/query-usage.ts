import type { Caller } from "../access/caller.ts";
import { confinedTo, confineOwner } from "../access/permissions.ts";
import { invalidField } from "../keys/errors.ts";
import { MOST_COUNTED } from "../keys/usage-delta.ts";
import { findKey } from "../postgres/keys.ts";
import { readDatabaseTime } from "../postgres/time.ts";
import {
  queryUsage as readCounts,
  type UsageCount,
  type UsageDimension,
  type UsageStep,
} from "../postgres/usage-query.ts";
import { DAY_MS, HOUR_MS, LAST_TIME_MS, MINUTE_MS } from "../system/clocks.ts";
import type { ManageDeps } from "./deps.ts";
import { keyNotFound, mayKnow } from "./steps/lock.ts";

export type { UsageDimension, UsageStep };

export interface QueryUsage {
  /** At most one of the two; both empty for all keys. */
  readonly keyId: string;
  readonly owner: string;
  readonly startTime: Date;
  readonly endTime: Date;
  readonly step: UsageStep;
  readonly groupBy: readonly UsageDimension[];
}

export interface Usage {
  /** In order of time, with zeros filled in. */
  readonly points: readonly UsageCount[];
  readonly total: number;
  /** The values of the group of each point. */
  readonly groupBy: readonly UsageDimension[];
}

const STEP_MS: Readonly<Record<UsageStep, number>> = { minute: MINUTE_MS, hour: HOUR_MS, day: DAY_MS };

/**
 * The usage of keys, in the whole steps that the interval touches.
 *
 * @throws ClavigerError `INVALID_FIELD` for an interval that is no longer kept, where zeros would be wrong, or for too
 * many points.
 */
export async function queryUsage(deps: ManageDeps, caller: Caller, command: QueryUsage): Promise<Usage> {
  const { keyId, step, groupBy } = command;
  const owner = keyId === "" ? confineOwner(caller, command.owner) : "";
  const startTime = floor(command.startTime, step);
  const endTime = ceil(command.endTime, step);
  const limit = deps.policy.usagePoints;
  const steps = (endTime.getTime() - startTime.getTime()) / STEP_MS[step];
  if (steps > limit) throw tooMany(limit);
  return deps.storage.read(async (database) => {
    if (keyId !== "" && confinedTo(caller) !== undefined) {
      const key = await findKey(database, keyId);
      if (key === undefined || !mayKnow(caller, key)) throw keyNotFound(keyId);
    }
    requireKept(deps, command, startTime, await readDatabaseTime(database));
    const about = { ...(keyId === "" ? {} : { keyId }), ...(owner === "" ? {} : { owner }) };
    const counts = await readCounts(database, { ...about, startTime, endTime, step, groupBy, limit: limit + 1 });
    const groups = new Set(counts.map(({ group }) => JSON.stringify(group))).size;
    // Checked before zeros are filled in: steps and groups within their limits may still multiply to a hundred million.
    if (counts.length > limit || steps * groups > limit) throw tooMany(limit);
    const points = withZeros(counts, { startTime, endTime, step, groupBy });
    // Each count is bounded, and so is the sum: a client's JSON and int64 hold no more.
    const total = counts.reduce((sum, { count }) => Math.min(sum + count, MOST_COUNTED), 0);
    return { points, total, groupBy };
  });
}

/** One point per step and group, with zeros filled in, by time and then by group. */
function withZeros(
  counts: readonly UsageCount[],
  { startTime, endTime, step, groupBy }: Pick<QueryUsage, "startTime" | "endTime" | "step" | "groupBy">,
): UsageCount[] {
  const name = (group: readonly string[]) => JSON.stringify(group);
  const groups = new Map(counts.map(({ group }) => [name(group), group]));
  if (groupBy.length === 0) groups.set(name([]), []);
  const known = new Map(counts.map((count) => [`${count.startTime.getTime()} ${name(count.group)}`, count.count]));
  const sorted = [...groups].sort(([a], [b]) => (a < b ? -1 : 1));
  const points: UsageCount[] = [];
  for (let at = startTime.getTime(); at < endTime.getTime(); at += STEP_MS[step]) {
    for (const [text, group] of sorted) {
      points.push({ startTime: new Date(at), group, count: known.get(`${at} ${text}`) ?? 0 });
    }
  }
  return points;
}

function requireKept(deps: ManageDeps, { step }: QueryUsage, startTime: Date, now: Date): void {
  const keptMs = step === "minute" ? deps.policy.usageMinutesMs : deps.policy.usageHoursMs;
  if (startTime.getTime() >= floor(now, step).getTime() - keptMs) return;
  const wider = step === "minute" ? ", or use a wider step" : "";
  throw invalidField(
    "start_time",
    `is longer ago than ${step}s are kept (${keptMs / DAY_MS} days); begin later${wider}`,
  );
}

function tooMany(limit: number): Error {
  return invalidField("step", `makes more than ${limit} points; use a wider step, a shorter interval or less group_by`);
}

function floor(time: Date, step: UsageStep): Date {
  return new Date(Math.floor(time.getTime() / STEP_MS[step]) * STEP_MS[step]);
}

function ceil(time: Date, step: UsageStep): Date {
  return new Date(Math.min(Math.ceil(time.getTime() / STEP_MS[step]) * STEP_MS[step], LAST_TIME_MS));
}
