import { createHash } from "node:crypto";
import { type ResolutionDetails, StandardResolutionReasons, TargetingKeyMissingError } from "@openfeature/server-sdk";

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
