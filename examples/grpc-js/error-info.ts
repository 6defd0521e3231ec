// Why a call was refused: google.rpc.ErrorInfo, which gRPC carries in `grpc-status-details-bin`.
import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import type { ServiceError } from "@grpc/grpc-js";
import { type ErrorInfo, ErrorInfoSchema } from "../gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../gen/google/rpc/status_pb.ts";

export function errorInfoOf({ metadata }: ServiceError): ErrorInfo | undefined {
  const [bytes] = metadata.get("grpc-status-details-bin");
  if (!(bytes instanceof Buffer)) return undefined;
  const details = fromBinary(StatusSchema, bytes).details.map((any) => anyUnpack(any, ErrorInfoSchema));
  return details.find((info) => info !== undefined);
}
