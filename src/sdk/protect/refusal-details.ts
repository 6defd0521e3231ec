import { create, toBinary } from "@bufbuild/protobuf";
import { anyPack, durationFromMs } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema, RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "#gen/google/rpc/status_pb.js";
import type { Refusal } from "./refusal.ts";

const DOMAIN = "claviger";

/** The refusal as Connect throws it, with `ErrorInfo` and, where it is known when to retry, `RetryInfo`. */
export function toConnectError(refusal: Refusal): ConnectError {
  const { message, code, cause } = refusal;
  const error = new ConnectError(
    message,
    code,
    undefined,
    [{ desc: ErrorInfoSchema, value: errorInfo(refusal) }],
    cause,
  );
  const retry = retryInfo(refusal);
  if (retry !== undefined) error.details.push({ desc: RetryInfoSchema, value: retry });
  return error;
}

/** The same as a `google.rpc.Status`, for the trailer `grpc-status-details-bin`. */
export function toStatusDetails(refusal: Refusal): Uint8Array {
  const details = [anyPack(ErrorInfoSchema, errorInfo(refusal))];
  const retry = retryInfo(refusal);
  if (retry !== undefined) details.push(anyPack(RetryInfoSchema, retry));
  return toBinary(StatusSchema, create(StatusSchema, { code: refusal.code, message: refusal.message, details }));
}

function errorInfo({ reason, metadata }: Refusal) {
  return create(ErrorInfoSchema, { domain: DOMAIN, reason, metadata: { ...metadata } });
}

function retryInfo({ retryAfterMs }: Refusal) {
  if (retryAfterMs === undefined) return undefined;
  return create(RetryInfoSchema, { retryDelay: durationFromMs(retryAfterMs) });
}
