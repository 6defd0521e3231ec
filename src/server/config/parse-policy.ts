import { isOwnScope } from "../../keys/scopes.ts";
import { ConfigError } from "./config-error.ts";
import { DEFAULT_POLICY, type Policy } from "./policy.ts";

const VARIABLE = "CLAVIGER_POLICY";
const SCOPE = /^(\*|[a-z0-9_.-]+(:[a-z0-9_.-]+)*(:\*)?)$/;

/** What a value must be, and how to say so. */
interface Rule {
  readonly right: string;
  readonly holds: (value: unknown) => boolean;
}

const POSITIVE: Rule = {
  right: "a positive whole number",
  holds: (value) => Number.isSafeInteger(value) && Number(value) > 0,
};

/** Timers of Node fire at once, again and again, where they are set for longer than 24.8 days. */
export const LONGEST_TIMER_MS = 24 * 86_400_000;
/** A hundred years: added to an instant it stays within what a date can hold. */
const LONGEST_SPAN_MS = 36_500 * 86_400_000;
/** Times that no timer is set to. */
const SPANS = new Set(["maxTtlMs", "defaultGraceMs", "maxGraceMs", "retentionMs", "usageMinutesMs", "usageHoursMs"]);

/** For the values that are not simply numbers. */
const RULES: Readonly<Record<string, Rule>> = {
  brand: {
    right: "2 to 16 lower-case letters",
    holds: (value) => typeof value === "string" && /^[a-z]{2,16}$/.test(value),
  },
  keysPerOwnerPrefix: {
    right: 'an object of positive whole numbers by prefix, such as {"svc:": 100}',
    holds: (value) =>
      typeof value === "object" &&
      value !== null &&
      !Array.isArray(value) &&
      Object.values(value).every(POSITIVE.holds),
  },
  clockRateError: {
    right: "a number above 0 and below 1",
    holds: (value) => typeof value === "number" && value > 0 && value < 1,
  },
  userGrantableScopes: {
    // Only administrators grant scopes of Claviger: a user who could would be one.
    right: 'a list of scopes outside claviger:, such as ["orders:*"]',
    holds: (value) => Array.isArray(value) && value.every(isGrantableScope),
  },
};

/** The default policy with the values that `text`, a JSON object, replaces. */
export function parsePolicy(text: string | undefined): Policy {
  const changes = text === undefined ? {} : parseObject(text);
  for (const [name, value] of Object.entries(changes)) {
    if (!Object.hasOwn(DEFAULT_POLICY, name)) throw new ConfigError(VARIABLE, `has no ${name}. It takes ${known()}`);
    const rule = RULES[name] ?? (name.endsWith("Ms") ? upTo(longest(name)) : POSITIVE);
    if (!rule.holds(value)) {
      throw new ConfigError(VARIABLE, `has ${JSON.stringify(value)} for ${name}. Give ${rule.right}`);
    }
  }
  return { ...DEFAULT_POLICY, ...changes };
}

function longest(name: string): number {
  return SPANS.has(name) ? LONGEST_SPAN_MS : LONGEST_TIMER_MS;
}

function upTo(most: number): Rule {
  return {
    right: `a positive whole number of milliseconds, at most ${most}`,
    holds: (value) => POSITIVE.holds(value) && Number(value) <= most,
  };
}

function isGrantableScope(scope: unknown): boolean {
  return typeof scope === "string" && SCOPE.test(scope) && !isOwnScope(scope);
}

function parseObject(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  } catch {
    // Falls through to the one message for both.
  }
  throw new ConfigError(VARIABLE, 'is not a JSON object. Give one such as {"keysPerOwner": 20}');
}

function known(): string {
  return Object.keys(DEFAULT_POLICY).join(", ");
}
