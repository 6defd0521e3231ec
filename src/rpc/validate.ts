import { pathToString } from "@bufbuild/protobuf/reflect";
import { createValidator } from "@bufbuild/protovalidate";
import type { Interceptor } from "@connectrpc/connect";
import { invalidFields } from "../keys/errors.ts";

/** A rule about several fields has no path of its own. */
const WHOLE_REQUEST = "(request)";

/** Holds every request to the rules of its proto; `INVALID_FIELD` with the path of each field that breaks one. */
export function createValidateInterceptor(): Interceptor {
  const validator = createValidator();
  return (next) => (request) => {
    if (request.stream) return next(request);
    const result = validator.validate(request.method.input, request.message);
    if (result.kind === "error") throw result.error;
    if (result.kind === "valid") return next(request);
    throw invalidFields(
      result.violations.map((violation) => ({
        field: violation.field.length === 0 ? WHOLE_REQUEST : pathToString(violation.field),
        description: violation.message,
      })),
    );
  };
}
