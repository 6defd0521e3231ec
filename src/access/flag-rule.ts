import { createHash } from "node:crypto";
import { type ResolutionDetails, StandardResolutionReasons, TargetingKeyMissingError } from "@openfeature/server-sdk";

/** For whom a flag is on. The first of owners, percent and default that applies decides. */
export interface FlagRule {
  /** Targeting keys that have it on in any case. */
  readonly owners: ReadonlySet<string>;
  /** Share of all others that has it on, 0 to 100; the rest has it off. Undefined: the default decides. */
  readonly percent: number | undefined;
  readonly isOnByDefault: boolean;
}

export interface FlagQuestion {
  readonly flag: string;
  readonly rule: FlagRule;
  /** The owner; undefined or empty if there is none. */
  readonly targetingKey: string | undefined;
}

/** @throws TargetingKeyMissingError for a share of nobody. */
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
 * Where an owner stands between 0 and 100, evenly spread and the same on every node for ever: a higher percentage
 * never takes a flag from an owner who had it. Each flag has its own order, or the same owners would always be first.
 */
function positionOf(flag: string, owner: string): number {
  const hash = createHash("sha256").update(`${flag}\n${owner}`).digest();
  return (hash.readUIntBE(0, 6) / 2 ** 48) * 100;
}

function resolved(value: boolean, reason: string): ResolutionDetails<boolean> {
  return { value, reason, variant: value ? "on" : "off" };
}
