import { Code, type ConnectError } from "@connectrpc/connect";
import { createAsyncIterable, type UniversalServerResponse } from "@connectrpc/connect/protocol";
import { errorToJsonBytes } from "@connectrpc/connect/protocol-connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { explainedError } from "../../wire/errors.ts";

/** An error as the answer to a call that no handler sees: for gRPC and gRPC-Web as Trailers-Only, else as Connect's JSON. */
export function refusal(
  contentType: string,
  { error, httpStatus }: { readonly error: ConnectError; readonly httpStatus: number },
): UniversalServerResponse {
  if (contentType.startsWith("application/grpc")) {
    return { status: 200, header: setTrailerStatus(new Headers({ "content-type": contentType }), error) };
  }
  const body = errorToJsonBytes(error, undefined);
  const header = new Headers({ "content-type": "application/json", "content-length": String(body.byteLength) });
  return { status: httpStatus, header, body: createAsyncIterable([body]) };
}

/** The answer to a call of a method that no service has. */
export function unknownMethod(contentType: string): UniversalServerResponse {
  const error = explainedError({
    code: Code.Unimplemented,
    reason: "NOT_IMPLEMENTED",
    message: "there is no such method; check the path, or use a newer server",
  });
  return refusal(contentType, { error, httpStatus: 404 });
}
