import type { DescMessage, Message } from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { createValidator } from "@bufbuild/protovalidate";
import type { Interceptor } from "@connectrpc/connect";
import { invalidFields } from "../keys/errors.ts";

/** A rule about several fields has no path of its own. */
const WHOLE_REQUEST = "(request)";

/** Holds a request to the rules of its proto; `INVALID_FIELD` with the path of each field that breaks one. */
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
    const result = validator.validate(schema, request);
    if (result.kind === "error") throw result.error;
    if (result.kind === "valid") return;
    throw invalidFields(
      result.violations.map((violation) => ({
        field: violation.field.length === 0 ? WHOLE_REQUEST : pathToString(violation.field),
        description: violation.message,
      })),
    );
  };
}
