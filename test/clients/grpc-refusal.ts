import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { Metadata, type StatusObject, status } from "@grpc/grpc-js";
import { ErrorInfoSchema, RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "#gen/google/rpc/status_pb.js";

/** An error as grpc-js reports it, with `grpc-status-details-bin` read. */
export interface GrpcRefusal {
  /** `UNAVAILABLE`, … */
  readonly code: string | undefined;
  readonly reason: string | undefined;
  /** Whether it says when to try again. */
  readonly hasRetryInfo: boolean;
}

/** The refusal that a call of grpc-js ends with; throws if it succeeds, or fails otherwise. */
export async function grpcRefusalOf(call: Promise<unknown>): Promise<GrpcRefusal> {
  const error: unknown = await call.then(
    (answer) => {
      throw new Error(`the call succeeded: ${JSON.stringify(answer)}`);
    },
    (reason: unknown) => reason,
  );
  if (!isStatus(error)) throw error;
  return readRefusal(error.code, error.metadata.get("grpc-status-details-bin")[0]);
}

/** The refusal in a status code and the bytes of `grpc-status-details-bin`. */
export function readRefusal(code: number, details: string | Uint8Array | undefined): GrpcRefusal {
  const bytes = typeof details === "string" ? Buffer.from(details, "base64") : (details ?? new Uint8Array());
  const packed = fromBinary(StatusSchema, bytes).details;
  return {
    code: status[code],
    reason: packed.map((any) => anyUnpack(any, ErrorInfoSchema)?.reason).find((reason) => reason !== undefined),
    hasRetryInfo: packed.some((any) => anyUnpack(any, RetryInfoSchema) !== undefined),
  };
}

function isStatus(error: unknown): error is StatusObject {
  return error instanceof Error && "metadata" in error && error.metadata instanceof Metadata && "code" in error;
}
