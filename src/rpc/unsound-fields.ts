import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";
import type { FieldViolation } from "../keys/errors.ts";
import { looksLikeSecret } from "../keys/secret.ts";

/**
 * Fields that may hold a secret: it is what they are for, or it is redacted before anything is kept, or nothing is kept.
 * Page tokens are opaque.
 */
const MAY_HOLD_SECRETS: ReadonlySet<string> = new Set([
  ...["secret", "note", "source", "method", "required_scopes", "client_ip", "page_token"],
]);

/**
 * The faults that a request of any method may have: fields that this server does not know (ignoring a restriction would
 * open a door), impossible durations and times, and secrets in fields that are stored, listed or logged. Protovalidate
 * checks the rules of the proto, and `metadataFromProto` checks metadata.
 */
export function unsoundFields(schema: DescMessage, message: Message, path = ""): FieldViolation[] {
  const unknown = (message.$unknown ?? []).map(({ no }) => ({
    field: join(path, String(no)),
    description: `${schema.name} has no field of this number here. Leave it out, or call a newer server`,
  }));
  return unknown.concat(schema.fields.flatMap((field) => unsoundIn(field, message, path)));
}

function unsoundIn(field: DescField, message: Message, parent: string): FieldViolation[] {
  const path = join(parent, field.name);
  const value = heldBy(field, message);
  if (value === undefined) return [];
  const ofText = (text: unknown, at: string) =>
    typeof text === "string" && !MAY_HOLD_SECRETS.has(field.name) && looksLikeSecret(text)
      ? [{ field: at, description: "looks like a secret. Remove it, and revoke its key if the secret is live" }]
      : [];
  switch (field.fieldKind) {
    case "scalar":
      return ofText(value, path);
    case "list": {
      const items = value as readonly unknown[];
      const { message: schema } = field;
      return items.flatMap((item, at) =>
        schema === undefined ? ofText(item, `${path}[${at}]`) : unsoundOf(schema, item as Message, `${path}[${at}]`),
      );
    }
    case "map":
      return Object.entries(value).flatMap(([key, item]) => {
        const at = `${path}[${JSON.stringify(key)}]`;
        return ofText(key, at).concat(ofText(item, at)).slice(0, 1);
      });
    case "message":
      return unsoundOf(field.message, value as Message, path);
    case "enum":
      return [];
  }
}

function unsoundOf(schema: DescMessage, message: Message, path: string): FieldViolation[] {
  switch (schema.typeName) {
    case "google.protobuf.Duration":
      return isDuration(message as Duration)
        ? []
        : [{ field: path, description: "must be within 10,000 years, with seconds and nanos of one sign" }];
    case "google.protobuf.Timestamp":
      return isTimestamp(message as Timestamp) ? [] : [{ field: path, description: "must lie in the years 1 to 9999" }];
    case "google.protobuf.Struct":
      return [];
    default:
      return unsoundFields(schema, message, path);
  }
}

/** The value of the field; undefined if it is not set. */
function heldBy(field: DescField, message: Message): object | string | undefined {
  const fields = message as unknown as Readonly<Record<string, unknown>>;
  if (field.oneof === undefined) return fields[field.localName] as object | string | undefined;
  const chosen = fields[field.oneof.localName] as { readonly case?: string; readonly value?: object | string };
  return chosen.case === field.localName ? chosen.value : undefined;
}

function join(path: string, name: string): string {
  return path === "" ? name : `${path}.${name}`;
}

// Bounds of duration.proto and timestamp.proto, in seconds.
const LONGEST = 315_576_000_000n;
const YEAR_1 = -62_135_596_800n;
const YEAR_9999 = 253_402_300_799n;
const MOST_NANOS = 999_999_999;

function isDuration({ seconds, nanos }: Duration): boolean {
  if (seconds > LONGEST || seconds < -LONGEST || Math.abs(nanos) > MOST_NANOS) return false;
  return nanos === 0 || seconds === 0n || nanos > 0 === seconds > 0n;
}

function isTimestamp({ seconds, nanos }: Timestamp): boolean {
  return seconds >= YEAR_1 && seconds <= YEAR_9999 && nanos >= 0 && nanos <= MOST_NANOS;
}
