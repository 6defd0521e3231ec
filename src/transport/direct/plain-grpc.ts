import { constants, type IncomingHttpHeaders, type OutgoingHttpHeaders } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { PROCESS_HEADER } from "../../rpc/gate.ts";
import { explain } from "../router/router-errors.ts";

/** Flags and length before each message. */
export const PREFIX_BYTES = 5;
export const CONTENT_TYPE = "application/grpc+proto";

/** True for a plain gRPC call of that path: no compression, no other encoding. */
export function isPlainGrpc(headers: IncomingHttpHeaders, path: string): boolean {
  const type = headers["content-type"];
  const encoding = headers["grpc-encoding"];
  return (
    headers[constants.HTTP2_HEADER_PATH] === path &&
    headers[constants.HTTP2_HEADER_METHOD] === "POST" &&
    (type === CONTENT_TYPE || type === "application/grpc") &&
    (encoding === undefined || encoding === "identity") &&
    headers[PROCESS_HEADER] === undefined &&
    headers.expect === undefined
  );
}

/** How a call ends with an error; every one carries ErrorInfo. */
export function trailersOf(error: ConnectError): OutgoingHttpHeaders {
  return Object.fromEntries(setTrailerStatus(new Headers(), explain(error) ?? error));
}

export function asConnectError(error: unknown): ConnectError {
  return error instanceof ConnectError ? error : new ConnectError("internal error", Code.Internal);
}
