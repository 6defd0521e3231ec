import { styleText } from "node:util";
import {
  type DescField,
  type DescMessage,
  type JsonValue,
  type MessageShape,
  ScalarType,
  toJson,
} from "@bufbuild/protobuf";
import { isObject } from "../../system/json.ts";
import type { CliError } from "../cli-error.ts";
import type { Shell } from "../shell.ts";
import { printable, printableJson, wrapTo } from "./printable.ts";

/** Writes one or more lines of the command's result. */
export function printLine(shell: Shell, text: string): void {
  shell.stdout.write(`${text}\n`);
}

/** Writes a sentence of the command's result. A terminal gets it in lines that fit. */
export function printText(shell: Shell, text: string): void {
  printLine(shell, wrapTo(text, shell.columns));
}

/**
 * Writes a sentence beside the result, so that a program that reads the output does not meet it. A terminal gets it in
 * lines that fit.
 */
export function noteLine(shell: Shell, text: string): void {
  shell.stderr.write(`${wrapTo(text, shell.columns)}\n`);
}

/** Writes a warning for people. */
export function warnLine(shell: Shell, text: string): void {
  noteStyled(shell, { color: "yellow", word: "warning:", text });
}

/** Writes a value for programs. */
export function printJson(shell: Shell, value: JsonValue): void {
  printLine(shell, printableJson(JSON.stringify(value, null, 2)));
}

/** Writes a failure for people. */
export function printFailure(shell: Shell, failure: CliError): void {
  noteStyled(shell, { color: "red", word: "error:", text: failure.message });
  if (failure.reason !== "") noteLine(shell, `  reason: ${printable(failure.reason)}`);
  for (const detail of failure.details) noteLine(shell, `  ${printable(detail)}`);
}

interface StyledNote {
  readonly color: "yellow" | "red";
  readonly word: string;
  readonly text: string;
}

/** The colour takes no cells: it comes after the wrapping. */
function noteStyled(shell: Shell, { color, word, text }: StyledNote): void {
  const wrapped = wrapTo(`${word} ${printable(text)}`, shell.columns);
  shell.stderr.write(`${styleText(color, word, { stream: shell.stderr })}${wrapped.slice(word.length)}\n`);
}

/** Writes a failure for programs: `code`, `reason`, `message`, `metadata` and `violations`. */
export function printFailureJson(shell: Shell, failure: CliError): void {
  const { code, reason, message, metadata } = failure;
  const violations = failure.violations.map(({ field, description }) => ({ field, description }));
  const json = JSON.stringify({ code, reason, message, metadata, violations }, null, 2);
  shell.stderr.write(`${printableJson(json)}\n`);
}

/** Writes a message for programs; see `messageToJson`. Not in `print.ts`: commands without a server start without Protobuf. */
export function printMessage<Desc extends DescMessage>(shell: Shell, schema: Desc, message: MessageShape<Desc>): void {
  printJson(shell, messageToJson(schema, message));
}

/** Whole numbers that proto JSON writes as strings. */
const LONG: ReadonlySet<ScalarType> = new Set([
  ...[ScalarType.INT64, ScalarType.UINT64, ScalarType.SINT64, ScalarType.FIXED64, ScalarType.SFIXED64],
]);

/**
 * A message as JSON for programs: proto JSON (names in camelCase, times in UTC) with every field, set or not, so that a
 * program finds the same shape every time. 64-bit numbers are numbers where JavaScript can hold them, and strings beyond.
 */
export function messageToJson<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): JsonValue {
  return withNumbers(schema, toJson(schema, message, { alwaysEmitImplicit: true }));
}

function withNumbers(schema: DescMessage, json: JsonValue): JsonValue {
  // The well-known types have a JSON of their own.
  if (!isObject<JsonValue>(json) || schema.typeName.startsWith("google.protobuf.")) return json;
  const fields = new Map(schema.fields.map((field) => [field.jsonName, field]));
  return Object.fromEntries(
    Object.entries(json).map(([name, value]) => [name, fieldJson(fields.get(name), value)] as const),
  );
}

function fieldJson(field: DescField | undefined, value: JsonValue): JsonValue {
  if (field === undefined) return value;
  const ofOne = (each: JsonValue): JsonValue => {
    if (field.message !== undefined) return withNumbers(field.message, each);
    return field.scalar !== undefined && LONG.has(field.scalar) ? numberOf(each) : each;
  };
  if (field.fieldKind === "list" && Array.isArray(value)) return value.map(ofOne);
  if (field.fieldKind === "map" && isObject<JsonValue>(value)) {
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, ofOne(each)]));
  }
  return ofOne(value);
}

function numberOf(value: JsonValue): JsonValue {
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}
