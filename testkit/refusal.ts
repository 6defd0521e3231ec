import { Code, ConnectError } from "@connectrpc/connect";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  QuotaFailureSchema,
  RetryInfoSchema,
} from "#gen/google/rpc/error_details_pb.js";

/** An error as a client sees it, flat, for comparing. */
export interface Refusal {
  readonly code: string;
  readonly reason: string | undefined;
  readonly domain: string | undefined;
  readonly metadata: Readonly<Record<string, string>>;
  readonly message: string;
  /** Field paths of `BadRequest`. */
  readonly fields: readonly string[];
  readonly hasQuotaFailure: boolean;
  readonly hasRetryInfo: boolean;
}

/** The refusal that the call ends with; throws if it succeeds. */
export async function refusalOf(call: Promise<unknown>): Promise<Refusal> {
  const error = await call.then(
    (answer) => {
      throw new Error(
        `the call succeeded: ${JSON.stringify(answer, (_, value) => (typeof value === "bigint" ? `${value}` : value))}`,
      );
    },
    (reason: unknown) => ConnectError.from(reason),
  );
  const [info] = error.findDetails(ErrorInfoSchema);
  return {
    code: Code[error.code] ?? String(error.code),
    reason: info?.reason,
    domain: info?.domain,
    metadata: { ...info?.metadata },
    message: error.rawMessage,
    fields: error.findDetails(BadRequestSchema).flatMap((bad) => bad.fieldViolations.map(({ field }) => field)),
    hasQuotaFailure: error.findDetails(QuotaFailureSchema).length > 0,
    hasRetryInfo: error.findDetails(RetryInfoSchema).length > 0,
  };
}
