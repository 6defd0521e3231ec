import { isObject, parseObject } from "../system/json.ts";
import type { MethodAccess } from "../wire/access.ts";
import { areRequiredScopes, REQUIRED_SCOPES } from "../wire/question.ts";

/** Finds the requirements of a policy by its name; undefined for a name that the file does not have. */
export type FindPolicy = (name: string) => MethodAccess | undefined;

const NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/;
const FIELDS: ReadonlySet<string> = new Set(["scopes", "anonymous"]);

/**
 * Reads a policies file, such as `{"orders-read": {"scopes": ["orders:read"]}}`.
 *
 * @throws Error that continues the file's name
 */
export function parsePolicies(text: string): ReadonlyMap<string, MethodAccess> {
  const policies = parseObject(text);
  if (policies === undefined) throw new Error("is no JSON object. Write one with policies by their names");
  return new Map(Object.entries(policies).map(([name, policy]) => [name, readPolicy(name, policy)]));
}

function readPolicy(name: string, policy: unknown): MethodAccess {
  const wrong = (problem: string) => new Error(`has a wrong policy ${JSON.stringify(name)}: ${problem}`);
  if (!NAME.test(name)) {
    throw wrong("its name must be 1 to 63 of a-z, 0-9, '.', '_' and '-', and begin with a letter or digit");
  }
  if (!isObject(policy)) throw wrong('write an object such as {"scopes": ["orders:read"]}');
  const unknown = Object.keys(policy).find((field) => !FIELDS.has(field));
  if (unknown !== undefined) throw wrong(`it has no field ${JSON.stringify(unknown)}. Use scopes and anonymous`);
  const { scopes = [], anonymous = false } = policy;
  if (!areRequiredScopes(scopes)) throw wrong(`scopes must be ${REQUIRED_SCOPES}`);
  if (typeof anonymous !== "boolean") throw wrong("anonymous must be true or false");
  if (anonymous && scopes.length > 0) throw wrong("it is anonymous and requires scopes. Remove one of the two");
  return { scopes, anonymous };
}
