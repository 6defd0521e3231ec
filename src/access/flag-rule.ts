import { createHash } from "node:crypto";
import { type ResolutionDetails, StandardResolutionReasons, TargetingKeyMissingError } from "@openfeature/server-sdk";
import { isObject } from "../system/json.ts";

/** The owners for whom a flag is on. The first of owners, percent and default that applies decides. */
export interface FlagRule {
  /** Targeting keys for which the flag is always on. */
  readonly owners: ReadonlySet<string>;
  /** Percentage of the other owners for whom the flag is on; it is off for the rest. Undefined: the default decides. */
  readonly percent: number | undefined;
  readonly isOnByDefault: boolean;
}

export interface FlagQuestion {
  readonly flag: string;
  readonly rule: FlagRule;
  /** The owner; undefined or empty without one. */
  readonly targetingKey: string | undefined;
}

/** @throws TargetingKeyMissingError for a percentage without a targeting key. */
export function applyRule({ flag, rule, targetingKey = "" }: FlagQuestion): ResolutionDetails<boolean> {
  const { owners, percent, isOnByDefault } = rule;
  if (owners.has(targetingKey)) return resolved(true, StandardResolutionReasons.TARGETING_MATCH);
  if (percent !== undefined) {
    if (targetingKey === "")
      throw new TargetingKeyMissingError(`${flag} has a percentage, of owners, and none is given`);
    return resolved(positionOf(flag, targetingKey) < percent, StandardResolutionReasons.SPLIT);
  }
  const isStatic = owners.size === 0;
  return resolved(isOnByDefault, StandardResolutionReasons[isStatic ? "STATIC" : "DEFAULT"]);
}

/**
 * The position of an owner between 0 and 100, evenly distributed and identical on every node. A higher percentage never
 * removes a flag from an owner. Each flag has an order of its own; otherwise the same owners would always be first.
 */
function positionOf(flag: string, owner: string): number {
  const hash = createHash("sha256").update(`${flag}\n${owner}`).digest();
  return (hash.readUIntBE(0, 6) / 2 ** 48) * 100;
}

function resolved(value: boolean, reason: string): ResolutionDetails<boolean> {
  return { value, reason, variant: value ? "on" : "off" };
}

const EXAMPLE = '{"enable-api-key-management": {"default": "off", "percent": 20, "owners": ["u1"]}}';

/**
 * Parses flags from JSON: an object of flags, each `{"default": "on" | "off", "percent": 0..100, "owners": [...]}` with
 * all three optional, or plain `"on"`, `"off"`, `true` or `false`.
 *
 * @throws Error that names the problem and a correct form without the file's content, which may be that of a wrong
 * file.
 */
export function parseFlags(text: string): ReadonlyMap<string, FlagRule> {
  const flags = parseJson(text);
  if (!isObject(flags)) throw new Error(`is not an object of flags. Give one such as ${EXAMPLE}`);
  return new Map(Object.entries(flags).map(([flag, value]) => [flag, parseRule(flag, value)]));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const place =
      error instanceof Error ? /\(?line \d+ column \d+/.exec(error.message)?.[0].replace("(", "") : undefined;
    throw new Error(`is not JSON${place === undefined ? "" : ` (${place})`}. Give flags such as ${EXAMPLE}`);
  }
}

function parseRule(flag: string, value: unknown): FlagRule {
  const isOn = parseSwitch(value);
  if (isOn !== undefined) return { owners: new Set(), percent: undefined, isOnByDefault: isOn };
  if (!isObject(value)) throw new Error(`has no rule for ${flag}. Give "on", "off" or an object as in ${EXAMPLE}`);
  const { default: byDefault = "on", percent, owners = [], ...unknown } = value;
  const [stranger] = Object.keys(unknown);
  if (stranger !== undefined) throw wrong(flag, stranger, "is unknown. A flag has default, percent and owners");
  const isOnByDefault = parseSwitch(byDefault);
  if (isOnByDefault === undefined) throw wrong(flag, "default", 'is neither "on" nor "off". Give one of them');
  if (percent !== undefined && !isPercent(percent)) throw wrong(flag, "percent", "is not a number. Give 0 to 100");
  if (!isOwners(owners)) throw wrong(flag, "owners", 'is not a list of owners. Give one such as ["u1"]');
  return { owners: new Set(owners), percent, isOnByDefault };
}

function parseSwitch(value: unknown): boolean | undefined {
  if (typeof value === "boolean") return value;
  return value === "on" ? true : value === "off" ? false : undefined;
}

function isPercent(value: unknown): value is number {
  return typeof value === "number" && value >= 0 && value <= 100;
}

function isOwners(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((owner) => typeof owner === "string" && owner !== "");
}

function wrong(flag: string, property: string, problem: string): Error {
  return new Error(`has a bad rule for ${flag}: ${property} ${problem}`);
}
