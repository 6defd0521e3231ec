import {
  type DescField,
  type DescMessage,
  type JsonValue,
  type MessageShape,
  ScalarType,
  toJson,
} from "@bufbuild/protobuf";
import { isObject } from "../../system/json.ts";

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
