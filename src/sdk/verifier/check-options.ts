import { LONGEST_TIMER_MS } from "../../system/clocks.ts";
import { areRequiredScopes, QUESTION_LIMITS, REQUIRED_SCOPES } from "../../wire/question.ts";

/** The rule for the value of one option. */
export interface Rule {
  /** The right value in words, after "Pass": `a function`. */
  readonly right: string;
  holds(value: unknown): boolean;
}

/** One rule for each option. Every option may also be absent or undefined. */
export type Rules<Options> = { readonly [Name in keyof Required<Options>]: Rule };

export const FUNCTION: Rule = { right: "a function", holds: (value) => typeof value === "function" };

export const MILLISECONDS: Rule = {
  right: `milliseconds from 1 to ${LONGEST_TIMER_MS}`,
  holds: (value) => typeof value === "number" && value >= 1 && value <= LONGEST_TIMER_MS,
};

export const BOOLEAN: Rule = { right: "true or false", holds: (value) => typeof value === "boolean" };

export const TEXT: Rule = { right: "a string", holds: (value) => typeof value === "string" };

export const OBJECT: Rule = { right: "an object", holds: (value) => typeof value === "object" && value !== null };

export const SCOPES: Rule = {
  right: REQUIRED_SCOPES,
  holds: areRequiredScopes,
};

export const ENVIRONMENT: Rule = {
  right: '"live", "test" or "any"',
  holds: (value) => value === "live" || value === "test" || value === "any",
};

/** The rule of `claviger.v1.VerifyRequest.method`. */
export const METHOD: Rule = {
  right: `a string of the form /service/method with at most ${QUESTION_LIMITS.methodBytes} bytes`,
  holds: (value) =>
    typeof value === "string" &&
    /^\/[^/]+\/[^/]+$/.test(value) &&
    Buffer.byteLength(value) <= QUESTION_LIMITS.methodBytes,
};

/** A rule for an option that is either a value or a function of the call. */
export function orFunction({ right, holds }: Rule): Rule {
  return {
    right: `${right}; or a function that returns one`,
    holds: (value) => FUNCTION.holds(value) || holds(value),
  };
}

/**
 * Checks options, because JavaScript does not: a wrong value or a misspelt name would count as "no requirement".
 *
 * @param where the function that takes the options; the message begins with it
 * @throws TypeError that names the option, the kind of its value and the right value, but never the value itself
 */
export function checkOptions<Options extends object>(where: string, options: Options, rules: Rules<Options>): void {
  const wrong = findWrong(options, rules);
  if (wrong !== undefined) throw new TypeError(`${where}: ${wrong.message}`);
}

/** The first option that breaks its rule. `name` is empty if the options are not an object. */
export function findWrong<Options extends object>(
  options: Options,
  rules: Rules<Options>,
): { readonly name: string; readonly message: string } | undefined {
  const names = Object.keys(rules);
  const given: unknown = options;
  if (typeof given !== "object" || given === null || Symbol.iterator in given) {
    return { name: "", message: `the options are ${kindOf(given)}. Pass an object with ${names.join(", ")}` };
  }
  // Inherited names too, because they are read as well.
  for (const name in given) {
    if (!Object.hasOwn(rules, name)) return { name, message: unknownName(name, names) };
  }
  for (const [name, rule] of Object.entries<Rule>(rules)) {
    const value: unknown = Reflect.get(given, name);
    if (value !== undefined && !rule.holds(value)) return { name, message: wrongValue(name, value, rule) };
  }
  return undefined;
}

/**
 * Calls a function of the application about one call.
 *
 * @returns the value of the function, if it is undefined or keeps the rule
 * @throws TypeError otherwise, also for a promise; and every error of the function
 */
export function askFunction<Call, Value>(
  name: string,
  { ask, call, rule }: { readonly ask: ((call: Call) => Value) | undefined; readonly call: Call; readonly rule: Rule },
): Value | undefined {
  const value = ask?.(call);
  if (value === undefined || rule.holds(value)) return value;
  // The rejection of a function that is async by mistake would end the process.
  if (isThenable(value)) Promise.resolve(value).catch(() => undefined);
  throw new TypeError(`the function ${name} returned ${kindOf(value)}. Return ${rule.right}, or undefined`);
}

/** Whether the value can be awaited. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}

function wrongValue(name: string, value: unknown, { right }: Rule): string {
  return `${name} is ${kindOf(value)}. Pass ${right}`;
}

function unknownName(name: string, names: readonly string[]): string {
  const meant = names.find((known) => distance(known.toLowerCase(), name.toLowerCase()) <= 2);
  const hint = meant === undefined ? "" : ` (did you mean ${meant}?)`;
  return `there is no option ${name}${hint}. Options are ${names.join(", ")}`;
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a wrong array";
  if (isThenable(value)) return "a promise";
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (value === "") return "an empty string";
  return (
    { string: "a string", object: "an object", undefined: "missing" }[typeof value as string] ?? `a ${typeof value}`
  );
}

/** Characters to add, drop or replace between two words (Levenshtein, 1966). */
function distance(from: string, to: string): number {
  let above = Array.from({ length: to.length + 1 }, (_, at) => at);
  for (let row = 1; row <= from.length; row++) {
    const here = [row];
    for (let at = 1; at <= to.length; at++) {
      const replaced = (above[at - 1] ?? 0) + (from[row - 1] === to[at - 1] ? 0 : 1);
      here.push(Math.min(replaced, (above[at] ?? 0) + 1, (here[at - 1] ?? 0) + 1));
    }
    above = here;
  }
  return above[to.length] ?? 0;
}
