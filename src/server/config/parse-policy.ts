import { isObject, parseObject } from "../../system/json.ts";
import { ConfigError } from "../startup-error.ts";
import { DEFAULT_POLICY, POLICY, type Policy, type PolicyEntry } from "./policy.ts";

const VARIABLE = "CLAVIGER_POLICY";
const ROOMS: Readonly<Record<string, Readonly<Record<string, PolicyEntry>>>> = POLICY;

/** Where the values stand whose names were other ones while the policy had no rooms. */
const RENAMED: Readonly<Record<string, string>> = {
  mostFinds: "verify.maxFinds",
  mostReads: "verify.maxReads",
  mostTurnMs: "overload.maxTurnMs",
  mostRoutedTurnMs: "overload.maxRoutedTurnMs",
  syncStreams: "sync.streams",
  syncKeys: "sync.keysPerStream",
  syncWaitingBytes: "sync.waitingBytes",
  mostSyncTurnMs: "sync.maxTurnMs",
  syncCloseMs: "sync.closeMs",
  mostReports: "usage.maxReports",
  mostWaitingReports: "usage.maxWaitingReports",
  redisTimeoutMs: "redis.timeoutMs",
  flushUsageMs: "usage.flushMs",
  foldUsageMs: "usage.foldMs",
  usageBytes: "usage.bufferBytes",
  usageMinutesMs: "usage.minutesMs",
  usageHoursMs: "usage.hoursMs",
  usagePoints: "usage.points",
  mostOpenCalls: "port.maxOpenCalls",
  mostTinyPieces: "port.maxTinyPieces",
};

/** Values that were in the policy, and are constants of the server now. */
const CONSTANTS: readonly string[] = [
  ...["clockRateError", "findWaitMs", "crowdedMs", "syncAsks", "syncWaiting", "barrierPollMs", "pushAgainMs"],
  ...["feedKeptMs", "usageBatchRows", "foldRows", "limitedKeys", "maxHeaders", "mostUnreadAnswers"],
  ...["deafMs", "maxSessionInvalidFrames", "maxSessionRejectedStreams", "firstByteTimeoutMs", "headersTimeoutMs"],
];

/** The default policy with the values that `text`, a JSON object of rooms, replaces. */
export function parsePolicy(text: string | undefined): Policy {
  const changes = text === undefined ? {} : parseObject(text);
  if (changes === undefined) {
    throw new ConfigError(VARIABLE, 'is not a JSON object. Give one such as {"manage": {"keysPerOwner": 20}}');
  }
  const replaced = Object.entries(changes).map(([room, values]) => {
    if (!Object.hasOwn(ROOMS, room)) throw new ConfigError(VARIABLE, misplaced(room));
    return [room, { ...DEFAULT_POLICY[room as keyof Policy], ...parseRoom(room, values) }] as const;
  });
  return { ...DEFAULT_POLICY, ...Object.fromEntries(replaced) };
}

function parseRoom(room: string, values: unknown): Readonly<Record<string, unknown>> {
  const entries = ROOMS[room] ?? {};
  if (!isObject(values)) {
    const example = JSON.stringify({ [room]: DEFAULT_POLICY[room as keyof Policy] });
    throw new ConfigError(VARIABLE, `has ${JSON.stringify(values)} for ${room}. Give an object, such as ${example}`);
  }
  for (const [name, value] of Object.entries(values)) {
    const entry = Object.hasOwn(entries, name) ? entries[name] : undefined;
    if (entry === undefined) {
      const place = placeOf(name);
      const advice = place === undefined ? `${room} takes ${Object.keys(entries).join(", ")}` : `Give ${place}`;
      throw new ConfigError(VARIABLE, `has no ${room}.${name}. ${advice}`);
    }
    if (!entry.holds(value)) {
      throw new ConfigError(VARIABLE, `has ${JSON.stringify(value)} for ${room}.${name}. Give ${entry.right}`);
    }
  }
  return values;
}

/** Says where a name belongs that is not a room. */
function misplaced(name: string): string {
  const place = placeOf(name);
  if (place !== undefined) return `has no room ${name}: ${name} is now ${place}`;
  if (CONSTANTS.includes(name)) return `has no ${name}: the server fixes it now. Leave it out`;
  return `has no room ${name}. It takes ${Object.keys(ROOMS).join(", ")}`;
}

function placeOf(name: string): string | undefined {
  if (Object.hasOwn(RENAMED, name)) return RENAMED[name];
  const room = Object.keys(ROOMS).find((each) => Object.hasOwn(ROOMS[each] ?? {}, name));
  return room === undefined ? undefined : `${room}.${name}`;
}
