import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { type Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema, RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";

/** The `domain` of every `google.rpc.ErrorInfo`. */
const DOMAIN = "claviger";

/** Milliseconds after which a client may repeat a call that ended with `UNAVAILABLE`, where no better time is known. */
export const RETRY_DELAY_MS = 1000;

/** Why a call failed, for programs (AIP-193). */
export interface Explanation {
  /** The name of an `ErrorReason`, without its prefix. */
  readonly reason: string;
  /** The variable parts of the message. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Milliseconds after which a retry makes sense. Without it the error has no `google.rpc.RetryInfo`. */
  readonly retryAfterMs?: number | undefined;
}

export interface ExplainedErrorInit extends Explanation {
  readonly code: Code;
  /** Ends with what to do. */
  readonly message: string;
  /** For the process's own log; never sent. */
  readonly cause?: unknown;
}

/** An error with its `google.rpc.ErrorInfo`. Texts that quote too much of a request are cut. */
export function explainedError(init: ExplainedErrorInit): ConnectError {
  const error = new ConnectError(shortenText(init.message), init.code, undefined, undefined, init.cause);
  error.details.push({ desc: ErrorInfoSchema, value: errorInfo(init) });
  const retry = retryInfo(init);
  if (retry !== undefined) error.details.push({ desc: RetryInfoSchema, value: retry });
  return error;
}

/** The fields of `google.rpc.ErrorInfo`. */
export function errorInfo({ reason, metadata = {} }: Explanation): MessageInitShape<typeof ErrorInfoSchema> {
  const texts = Object.entries(metadata).map(([name, text]) => [name, shortenText(text)]);
  return { domain: DOMAIN, reason, metadata: Object.fromEntries(texts) };
}

/** The fields of `google.rpc.RetryInfo`; undefined where it is not known when to retry. */
export function retryInfo({ retryAfterMs }: Explanation): MessageInitShape<typeof RetryInfoSchema> | undefined {
  return retryAfterMs === undefined ? undefined : { retryDelay: durationFromMs(retryAfterMs) };
}

/** The response header of a health check that names a fault, with what to do: gRPC's message has no field for it. */
export const REASON_HEADER = "claviger-health-reason";

/** Longest message of an error, and longest value of its metadata, in UTF-16 units. */
const MOST_TEXT = 2000;
/** Longest name of a field, and longest description of a violation. */
const MOST_FIELD = 128;
const MOST_DESCRIPTION = 256;

/**
 * A text of an error, cut where it quotes too much of a request. A gRPC error travels in the header list, twice, and
 * Node (26) ends the whole connection with an error if that is longer than 64 KiB.
 */
export function shortenText(text: string): string {
  return shorten(text, MOST_TEXT);
}

/** The same, for a name of a field. */
export function shortenField(field: string): string {
  return shorten(field, MOST_FIELD);
}

/** The same, for the description of a violation. */
export function shortenDescription(description: string): string {
  return shorten(description, MOST_DESCRIPTION);
}

function shorten(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1).toWellFormed()}…`;
}
