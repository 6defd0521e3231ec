import { create, toBinary } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { ErrorInfoSchema, RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "#gen/google/rpc/status_pb.js";
import { errorInfo, retryInfo } from "../../wire/errors.ts";
import type { Refusal } from "./refusal.ts";

/** The refusal as a `google.rpc.Status`, for the trailer `grpc-status-details-bin`. */
export function toStatusDetails(refusal: Refusal): Uint8Array {
  const details = [anyPack(ErrorInfoSchema, create(ErrorInfoSchema, errorInfo(refusal)))];
  const retry = retryInfo(refusal);
  if (retry !== undefined) details.push(anyPack(RetryInfoSchema, create(RetryInfoSchema, retry)));
  return toBinary(StatusSchema, create(StatusSchema, { code: refusal.code, message: refusal.message, details }));
}
