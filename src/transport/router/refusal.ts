import type { ConnectError } from "@connectrpc/connect";
import { createAsyncIterable, type UniversalServerResponse } from "@connectrpc/connect/protocol";
import { errorToJsonBytes } from "@connectrpc/connect/protocol-connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";

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
