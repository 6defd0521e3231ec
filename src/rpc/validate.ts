import type { DescMessage, Message } from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { createValidator } from "@bufbuild/protovalidate";
import type { Interceptor } from "@connectrpc/connect";
import { invalidFields } from "../keys/errors.ts";
import { unsoundFields } from "./unsound-fields.ts";

/** The right form for a text that breaks a pattern of the proto. A test holds this table to the proto files. */
const PATTERNS: Readonly<Record<string, string>> = {
  "^key_[0-7][0-9a-hjkmnp-tv-z]{25}$": "must be the id of a key: key_ and 26 characters",
  "^[^\\x00-\\x1f\\x7f]*$": "must not contain control characters",
  "^[^\\x00]*$": "must not contain the character U+0000",
  "^(\\*|[a-z0-9_.-]+(:[a-z0-9_.-]+)*(:\\*)?)$":
    "must be one scope such as orders:read, orders:* or *; its parts have lower-case letters, digits, '_', '.' and '-'",
  "^[a-z0-9_.-]+(:[a-z0-9_.-]+)*$":
    "must be one scope such as orders:read, without *; its parts have lower-case letters, digits, '_', '.' and '-'",
  "^[a-z][a-z0-9_.-]{0,62}$":
    "must have a key of at most 63 lower-case letters, digits, '_', '.' and '-' that begins with a letter",
  "^/[^/]+/[^/]+$": "must be written as /package.Service/Method",
  "^[0-9a-f]{16,64}$": "must be 16 to 64 hexadecimal digits",
};

/** How protovalidate 1.3 says it, and how people do. */
const PHRASES: readonly (readonly [RegExp, string])[] = [
  [/^must be at least 1 (characters?|bytes?)$/, "must not be empty"],
  [/^must be a valid IP prefix$/, "must be an IPv4 or IPv6 prefix, such as 10.0.0.0/8 or 2001:db8::/32"],
  [/^must be a valid IP address$/, "must be an IPv4 or IPv6 address, such as 10.1.2.3"],
  [/^must contain no more than (\d+) item\(s\)$/, "must have at most $1 items"],
  [/^must be greater than or equal to (\S+) and less than or equal to (\S+)$/, "must be from $1 to $2"],
  [/^must be greater than or equal to (\S+)$/, "must be at least $1"],
  [/^value must /, "must "],
];

/** The message of a rule of the proto in words: a caller should not have to read a regular expression. */
export function describeViolation(message: string): string {
  const [, pattern] = /^does not match regex pattern `(.*)`$/s.exec(message) ?? [];
  if (pattern !== undefined) return PATTERNS[pattern] ?? "does not have the form that its documentation names";
  return PHRASES.reduce((text, [phrase, words]) => text.replace(phrase, words), message);
}

/** A rule about several fields has no path of its own. */
const WHOLE_REQUEST = "(request)";

/** Violations that are named at most: an error travels in headers, which clients bound. */
const MOST_NAMED = 20;

/** Services of others, whose requests quote headers of any content and may have fields that this server does not know. */
const FOREIGN = /^envoy\./;

/** Holds a request to what is sound and to the rules of its proto; `INVALID_FIELD` with the path of each field that breaks one. */
export type Validate = (schema: DescMessage, request: Message) => void;

export function createValidateInterceptor(validate: Validate): Interceptor {
  return (next) => (request) => {
    if (!request.stream && !FOREIGN.test(request.service.typeName)) validate(request.method.input, request.message);
    return next(request);
  };
}

export function createValidate(): Validate {
  const validator = createValidator();
  return (schema, request) => {
    const unsound = unsoundFields(schema, request);
    const result = validator.validate(schema, request);
    // A rule may fail to run on a value that is unsound.
    if (result.kind === "error" && unsound.length === 0) throw result.error;
    const broken = (result.violations ?? []).map((violation) => ({
      field: violation.field.length === 0 ? WHOLE_REQUEST : pathToString(violation.field),
      description: describeViolation(violation.message),
    }));
    const others = broken.filter(({ field }) => unsound.every((known) => known.field !== field));
    const violations = unsound.concat(others).slice(0, MOST_NAMED);
    if (violations.length > 0) throw invalidFields(violations);
  };
}
