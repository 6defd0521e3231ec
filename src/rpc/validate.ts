import type { DescMessage, Message } from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { createValidator } from "@bufbuild/protovalidate";
import type { Interceptor } from "@connectrpc/connect";
import { invalidFields } from "../keys/errors.ts";
import { describeViolation } from "./describe-violation.ts";
import { unsoundFields } from "./unsound-fields.ts";

/** A rule about several fields has no path of its own. */
const WHOLE_REQUEST = "(request)";

/** Violations that are named at most: an error travels in headers, which clients bound. */
const MOST_NAMED = 20;

/** Holds a request to what is sound and to the rules of its proto; `INVALID_FIELD` with the path of each field that breaks one. */
export type Validate = (schema: DescMessage, request: Message) => void;

export function createValidateInterceptor(validate: Validate): Interceptor {
  return (next) => (request) => {
    if (!request.stream) validate(request.method.input, request.message);
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
