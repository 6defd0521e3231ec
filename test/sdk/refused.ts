import { ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";

/** The error that a call ends with; throws if it succeeds. */
export async function errorOf(call: Promise<unknown>): Promise<ConnectError> {
  const answer = await call.then(
    () => undefined,
    (reason: unknown) => ConnectError.from(reason),
  );
  if (answer === undefined) throw new Error("the call succeeded");
  return answer;
}

/** `reason` and `metadata` of an error's ErrorInfo. */
export function infoOf(error: ConnectError): unknown {
  const [info] = error.findDetails(ErrorInfoSchema);
  return info && { domain: info.domain, reason: info.reason, metadata: info.metadata };
}
