import { customType } from "drizzle-orm/pg-core";
import { FIRST_TIME_MS, LAST_TIME_MS } from "../system/clocks.ts";

/**
 * Column types that read strictly: a value that cannot be read is an error. Drizzle's own turn it into `Invalid Date` or
 * `NaN`, which compare as "not over yet". The other types in use (boolean, text, integer and arrays of text) have one
 * form on the wire, whatever the settings of the session are.
 */
interface Named {
  readonly mode: "number";
}

/** A moment in whole milliseconds, as JavaScript's Date: what is stored is what was shown. */
export const instant = customType<{ data: Date; driverData: string }>({
  dataType: () => "timestamp (3) with time zone",
  toDriver: (value) => value.toISOString(),
  fromDriver: readInstant,
});

/** An integer that a JavaScript number holds exactly. Called like Drizzle's `bigint`. */
export const bigint = customType<{
  data: number;
  driverData: string | number;
  config: Named;
  configRequired: true;
}>({
  dataType: () => "bigint",
  fromDriver: readInteger,
});

/** An object or an array; neither a bare string nor a number is ever stored. */
export const jsonb = customType<{ data: unknown; driverData: unknown }>({
  dataType: () => "jsonb",
  toDriver: (value) => JSON.stringify(value),
  fromDriver: readJson,
});

/** Bytes. node-postgres gives a Buffer, PGlite a Uint8Array. */
export const bytea = customType<{ data: Buffer; driverData: Uint8Array }>({
  dataType: () => "bytea",
  fromDriver: readBytes,
});

// The output of `DateStyle = ISO` for the years 1 to 9999, in any time zone with whole minutes.
const ISO = /^(\d{4}-\d{2}-\d{2}) (\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?)([+-]\d{2})(?::?(\d{2}))?$/;
// … and for all others, whatever the style is.
const BEYOND = /^(-?infinity|\d{5,6}-\d\d-\d\d [\d:.]+[+-][\d:]+|\d{4,6}-\d\d-\d\d [\d:.]+[+-][\d:]+ BC)$/;

/**
 * Reads the output of Postgres for a `timestamptz`. A moment that no answer can carry (`infinity`, years before 1 or
 * after 9999) becomes an invalid date: it belongs to one row, which must not cost the others, and counts as over.
 *
 * @throws Error for any other style: the session is wrong.
 */
export function readInstant(value: unknown): Date {
  if (typeof value === "string" && BEYOND.test(value)) return new Date(Number.NaN);
  const parts = typeof value === "string" ? ISO.exec(value) : null;
  if (parts === null) throw unreadable("time", value);
  const [, day = "", time = "", hours = "", minutes = "00"] = parts;
  // The form of ECMA-262: V8 reads dates out of almost any other text.
  const instant = new Date(`${day}T${time}${hours}:${minutes}`);
  if (Number.isNaN(instant.getTime()) || day.startsWith("0000")) throw unreadable("time", value);
  return instant;
}

/** Reads a moment that was asked for in milliseconds since 1970, which no setting of the session changes. As `readInstant`. */
export function readEpochMs(value: unknown): Date {
  if (value === "Infinity" || value === "-Infinity") return new Date(Number.NaN);
  const ms = readInteger(value);
  return new Date(ms < FIRST_TIME_MS || ms > LAST_TIME_MS ? Number.NaN : ms);
}

/** Reads an integer. */
export function readInteger(value: unknown): number {
  const isText = typeof value === "string" && /^-?\d+$/.test(value);
  const number = isText ? Number(value) : value;
  if (typeof number !== "number" || !Number.isSafeInteger(number)) throw unreadable("integer", value);
  return number;
}

function readJson(value: unknown): unknown {
  if (typeof value !== "object" || value === null) throw unreadable("JSON", typeof value);
  return value;
}

function readBytes(value: unknown): Buffer {
  if (!(value instanceof Uint8Array)) throw unreadable("bytes", typeof value);
  return Buffer.from(value);
}

function unreadable(what: string, value: unknown): Error {
  return new Error(`Postgres sent ${JSON.stringify(value)} for a value of type ${what}. Set DateStyle to ISO`);
}
