import { ConfigError } from "./config-error.ts";
import { DEFAULT_POLICY, type Policy } from "./policy.ts";

const VARIABLE = "CLAVIGER_POLICY";

/** The default policy with the values that `text`, a JSON object, replaces. */
export function parsePolicy(text: string | undefined): Policy {
  const changes = text === undefined ? {} : parseObject(text);
  for (const [name, value] of Object.entries(changes)) {
    if (!Object.hasOwn(DEFAULT_POLICY, name)) throw new ConfigError(VARIABLE, `has no ${name}. It takes ${known()}`);
    if (name === "brand" ? !isBrand(value) : !isPositive(value)) {
      const right = name === "brand" ? "2 to 16 lower-case letters" : "a positive number";
      throw new ConfigError(VARIABLE, `has ${JSON.stringify(value)} for ${name}. Give ${right}`);
    }
  }
  return { ...DEFAULT_POLICY, ...changes };
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

function isBrand(value: unknown): boolean {
  return typeof value === "string" && /^[a-z]{2,16}$/.test(value);
}

function isPositive(value: unknown): boolean {
  return typeof value === "number" && Number.isFinite(value) && value > 0;
}

function known(): string {
  return Object.keys(DEFAULT_POLICY).join(", ");
}
