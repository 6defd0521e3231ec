import { Code } from "@connectrpc/connect";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import { explainedError } from "../../wire/errors.ts";
import { refusal } from "./refusal.ts";

/** The answer to a call of a method that no service has. */
export function unknownMethod(contentType: string): UniversalServerResponse {
  const error = explainedError({
    code: Code.Unimplemented,
    reason: "NOT_IMPLEMENTED",
    message: "there is no such method; check the path, or use a newer server",
  });
  return refusal(contentType, { error, httpStatus: 404 });
}
