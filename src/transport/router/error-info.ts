import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { type Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema, RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { shortenText } from "../../rpc/shorten.ts";

/** The `domain` of every ErrorInfo. */
const errorDomain = "claviger";

/** An error of the transport with its `google.rpc.ErrorInfo`. */
export interface ExplainedErrorInit {
  readonly code: Code;
  /** Ends with what to do. */
  readonly message: string;
  /** The name of an `ErrorReason`, without its prefix. */
  readonly reason: string;
  /** The variable parts of the message. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Adds `google.rpc.RetryInfo`: milliseconds after which a retry makes sense. */
  readonly retryAfterMs?: number;
}

/** Texts that quote too much of a request are cut. */
export function explainedError(init: ExplainedErrorInit): ConnectError {
  const error = new ConnectError(shortenText(init.message), init.code);
  const texts = Object.entries(init.metadata ?? {}).map(([name, text]) => [name, shortenText(text)]);
  error.details.push({
    desc: ErrorInfoSchema,
    value: { domain: errorDomain, reason: init.reason, metadata: Object.fromEntries(texts) },
  });
  if (init.retryAfterMs !== undefined) {
    error.details.push({ desc: RetryInfoSchema, value: { retryDelay: durationFromMs(init.retryAfterMs) } });
  }
  return error;
}
