import { type DescField, type DescMessage, fromJson, type JsonValue } from "@bufbuild/protobuf";
import type { ConnectError } from "@connectrpc/connect";
import { type FieldViolation, invalidFields } from "../keys/errors.ts";
import { MOST_LEVELS } from "../keys/metadata.ts";
import { redactSecrets } from "../keys/secret.ts";
import { isObject } from "../system/json.ts";
import { toConnectError } from "./errors.ts";

/** Violations that are named at most. */
const MOST_NAMED = 10;
const MOST_NAME_CHARACTERS = 64;

/**
 * Names the fields of a JSON request that are unknown or of the wrong form, and the right form. It never quotes values,
 * which may be secrets. Undefined where no single field is at fault, for example where the text is not JSON.
 */
export function refusalOfJson(schema: DescMessage, text: string): ConnectError | undefined {
  try {
    const violations = violationsOf(schema, JSON.parse(text), "").slice(0, MOST_NAMED);
    return violations.length === 0 ? undefined : toConnectError(invalidFields(violations));
  } catch {
    return undefined;
  }
}

function violationsOf(schema: DescMessage, json: unknown, parent: string): FieldViolation[] {
  if (!isObject<JsonValue>(json)) return [{ field: parent || "(request)", description: "must be a JSON object" }];
  const violations: FieldViolation[] = [];
  for (const [name, value] of Object.entries(json)) {
    if (violations.length >= MOST_NAMED) break;
    const field = schema.fields.find((known) => known.name === name || known.jsonName === name);
    if (field === undefined) {
      const description = `${schema.name} has no such field. Correct its name, or leave it out`;
      violations.push({ field: join(parent, shownName(name)), description });
    } else if (!isDecodable(schema, { [field.jsonName]: value })) {
      violations.push(...violationsIn(field, value, join(parent, field.name)));
    }
  }
  return violations;
}

function violationsIn(field: DescField, value: JsonValue, path: string): FieldViolation[] {
  const inner = field.fieldKind === "message" || field.fieldKind === "list" ? field.message : undefined;
  if (inner !== undefined && !inner.typeName.startsWith("google.protobuf.")) {
    if (field.fieldKind === "message") return violationsOf(inner, value, path);
    if (Array.isArray(value)) {
      return value.flatMap((item, at) => (isDecodable(inner, item) ? [] : violationsOf(inner, item, `${path}[${at}]`)));
    }
  }
  return [{ field: path, description: `must be ${formOf(field)}` }];
}

function isDecodable(schema: DescMessage, json: JsonValue): boolean {
  try {
    fromJson(schema, json);
    return true;
  } catch {
    return false;
  }
}

const WELL_KNOWN: Readonly<Record<string, string>> = {
  "google.protobuf.Duration": 'a number of seconds as text, such as "3600s"',
  "google.protobuf.Timestamp": 'an RFC 3339 time, such as "2026-01-31T12:00:00Z"',
  "google.protobuf.FieldMask": 'names of fields, joined by commas, such as "displayName,scopes"',
  "google.protobuf.Struct": `a JSON object of at most ${MOST_LEVELS} levels`,
};

function formOf(field: DescField): string {
  switch (field.fieldKind) {
    case "list":
      return "a list, each item of the form that the contract says";
    case "map":
      return "an object whose values are text";
    case "enum":
      return `one of ${field.enum.values.map(({ name }) => name).join(", ")}`;
    case "message":
      return WELL_KNOWN[field.message.typeName] ?? "a JSON object";
    case "scalar":
      return "of the type that the contract says: text, a whole number in range, or true or false";
  }
}

function join(path: string, name: string): string {
  return path === "" ? name : `${path}.${name}`;
}

/** A name that the client made up, without what does not belong into an error. */
function shownName(name: string): string {
  return redactSecrets(name)
    .slice(0, MOST_NAME_CHARACTERS)
    .replace(/[^ -~]/g, "?");
}
