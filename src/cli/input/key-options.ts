import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import {
  type Duration,
  durationFromMs,
  type Timestamp,
  timestampFromDate,
  timestampFromMs,
} from "@bufbuild/protobuf/wkt";
import { Argument, InvalidArgumentError, Option } from "commander";
import { EnvironmentSchema } from "#gen/claviger/v1/key_pb.js";
import { parseObject } from "../../system/json.ts";
import { isDuration, parseDuration } from "./duration.ts";
import { enumNames } from "./enum-names.ts";

/** With an offset, or a day alone, which begins at midnight UTC: `Date` would take another for local time. */
const RFC_3339 = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2}))?$/i;

const KEY_ID = /^key_[0-7][0-9a-hjkmnp-tv-z]{25}$/;

/** The hint for a value that is not a key id. It repeats nothing of the value, which may be a secret. */
export const KEY_ID_HELP = "A key id is key_ and 26 characters, as `claviger keys list` shows it";

/** The id of a key, as an argument. */
export function keyIdArgument({ isOptional = false } = {}): Argument {
  return new Argument(isOptional ? "[key-id]" : "<key-id>", "key_…").argParser(parseKeyId);
}

/** `--key`. */
export function keyIdOption(description: string): Option {
  return new Option("--key <key-id>", description).argParser(parseKeyId);
}

export function isKeyId(text: string): boolean {
  return KEY_ID.test(text);
}

function parseKeyId(text: string): string {
  if (isKeyId(text)) return text;
  throw new InvalidArgumentError(KEY_ID_HELP);
}

/** `--scope`, once per scope. */
export function scopeOption(description: string): Option {
  return new Option("--scope <scope>", `${description} (repeat for more)`).argParser(addScope);
}

function addScope(text: string, before: readonly string[] | undefined): string[] {
  if (/[,\s]/.test(text)) throw new InvalidArgumentError("Give one scope, and repeat --scope for each other one");
  return append(text, before);
}

/** `--environment`, `live` or `test`. */
export function environmentOption(description: string): Option {
  return new Option("--environment <name>", description).choices(enumNames(EnvironmentSchema));
}

/** `--cidr`, once per prefix. */
export function cidrOption(): Option {
  return new Option(
    "--cidr <prefix>",
    "where the key may be used from, such as 10.0.0.0/8 (repeat for more)",
  ).argParser(addCidr);
}

function addCidr(text: string, before: readonly string[] | undefined): string[] {
  if (/[,\s]/.test(text)) throw new InvalidArgumentError("Give one prefix, and repeat --cidr for each other one");
  return append(text, before);
}

/** `--label`, once per label. */
export function labelOption(description: string): Option {
  return new Option("-l, --label <key=value>", `${description} (repeat for more)`).argParser(addLabel);
}

/** `--owner`. Refuses an empty one: `--owner "$UNSET"` would otherwise select the keys of all owners. */
export function ownerOption(description: string): Option {
  return new Option("--owner <owner>", description).argParser(notEmpty);
}

/** `--metadata`, a JSON object. */
export function metadataOption(): Option {
  return new Option("--metadata <json>", "JSON object that verifying services get with every verdict").argParser(
    parseMetadata,
  );
}

/** `--ttl`. */
export function ttlOption(description: string): Option {
  return new Option("--ttl <duration>", description).argParser(parseSpan);
}

/** `--requests-per-second`, `--burst` and `--requests-per-day`. */
export function limitOptions(): Option[] {
  const number = integerParser(0);
  return [
    new Option("--requests-per-second <number>", "valid requests a second, on all nodes together; 0 for no limit"),
    new Option("--burst <number>", "how many of them at once; 0 for as many as a second's (default: 0)"),
    new Option("--requests-per-day <number>", "valid requests per UTC day; 0 for no limit"),
  ].map((option) => option.argParser(number));
}

/** The values of those options. */
export interface LimitOptions {
  readonly requestsPerSecond?: number;
  readonly burst?: number;
  readonly requestsPerDay?: number;
}

/** The limits that are to be set, over those that the key has; undefined where no option was given. */
export function limitsOf(options: LimitOptions, before: LimitOptions = {}) {
  const given = [options.requestsPerSecond, options.burst, options.requestsPerDay];
  if (given.every((value) => value === undefined)) return undefined;
  return {
    requestsPerSecond: options.requestsPerSecond ?? before.requestsPerSecond ?? 0,
    burst: options.burst ?? before.burst ?? 0,
    requestsPerDay: options.requestsPerDay ?? before.requestsPerDay ?? 0,
  };
}

/** Reads a span as the contract has it; see `parseDuration`. */
export function parseSpan(text: string): Duration {
  return durationFromMs(parseDuration(text));
}

/** Makes a parser of an instant: RFC 3339, or a span from now, or ago. */
export function instantParser(now: () => Date, direction: 1 | -1 = 1): (text: string) => Timestamp {
  return (text) => {
    if (isDuration(text)) return timestampFromMs(now().getTime() + direction * parseDuration(text));
    const date = new Date(RFC_3339.test(text) ? text : Number.NaN);
    if (Number.isNaN(date.getTime())) {
      throw new InvalidArgumentError("Write an instant such as 2027-02-20T00:00:00Z (RFC 3339), or a span such as 14d");
    }
    return timestampFromDate(date);
  };
}

/** Makes a parser of a whole number from `least` to 2,147,483,647. */
export function integerParser(least: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= 2_147_483_647) return value;
    throw new InvalidArgumentError(`Give a whole number from ${least}`);
  };
}

/** Refuses an empty value, which a script's unset variable becomes. */
export function notEmpty(text: string): string {
  if (text === "") throw new InvalidArgumentError("It is empty: give a value, or leave the option out");
  return text;
}

function append(value: string, before: readonly string[] | undefined): string[] {
  return [...(before ?? []), notEmpty(value)];
}

function addLabel(text: string, before: Readonly<Record<string, string>> | undefined): Record<string, string> {
  const separator = text.indexOf("=");
  if (separator < 1) throw new InvalidArgumentError("Write a label as key=value");
  const key = text.slice(0, separator);
  if (before !== undefined && Object.hasOwn(before, key)) {
    throw new InvalidArgumentError(`Label ${key} is given twice: a key has one value of each label`);
  }
  return { ...before, [key]: text.slice(separator + 1) };
}

function parseMetadata(text: string): JsonObject {
  const metadata = parseObject<JsonValue>(text);
  if (metadata !== undefined) return { ...metadata };
  throw new InvalidArgumentError(`Write a JSON object in single quotes, such as '{"plan":"pro"}'`);
}
