import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { createAsyncIterable, encodeEnvelope, type UniversalServerResponse } from "@connectrpc/connect/protocol";
import {
  codeToHttpStatus,
  createEndStreamSerialization,
  endStreamFlag,
  errorFromJsonBytes,
  errorToJsonBytes,
} from "@connectrpc/connect/protocol-connect";
import { findTrailerError, setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { trailerFlag, trailerParse, trailerSerialize } from "@connectrpc/connect/protocol-grpc-web";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { explainedError, RETRY_DELAY_MS } from "../../wire/errors.ts";

export interface ExplainOptions {
  /** Returns what is wrong with a unary JSON request that could not be decoded, field by field, where that is known. */
  readonly refusalOf?: () => ConnectError | undefined;
  /** Called with each error that the router raised itself, which no interceptor has seen. */
  readonly onUnseen?: (error: ConnectError) => void;
}

/**
 * Gives every error that leaves without `google.rpc.ErrorInfo` one. The router raises those before an interceptor can
 * see them (a body too large or not decodable, a bad timeout, an unknown compression), and only their encoded form
 * passes by here, so each protocol's is opened and closed again. Compressed ones are left alone: the router must not
 * compress its responses.
 */
export async function explainErrors(
  response: UniversalServerResponse,
  options: ExplainOptions = {},
): Promise<UniversalServerResponse> {
  const { body, header, trailer, status } = response;
  if (body === undefined || header === undefined) return response;
  const contentType = header.get("content-type") ?? "";
  if (contentType.startsWith("application/grpc-web")) {
    return {
      ...response,
      body: rewriteFrames(body, { flag: trailerFlag, rewrite: (data) => explainWebTrailer(data, options) }),
    };
  }
  if (contentType.startsWith("application/connect+")) {
    return {
      ...response,
      body: rewriteFrames(body, { flag: endStreamFlag, rewrite: (data) => explainEndStream(data, options) }),
    };
  }
  if (trailer !== undefined) return { ...response, body: explainTrailerAtEnd(body, trailer, options) };
  if (status !== 200 && !header.has("content-encoding")) return explainUnary({ body, header, status }, options);
  return response;
}

/** Handlers, and with them the log, see of a stream's messages the errors that leave. */
export const streamErrorInterceptor: Interceptor = (next) => (req) =>
  req.stream ? next({ ...req, message: explained(req.message) }) : next(req);

async function* explained<Message>(messages: AsyncIterable<Message>): AsyncGenerator<Message> {
  try {
    yield* messages;
  } catch (error) {
    const connectError = ConnectError.from(error);
    throw explain(connectError) ?? connectError;
  }
}

/** The error with an ErrorInfo, or undefined if it has one already. */
export function explain(error: ConnectError, { refusalOf, onUnseen }: ExplainOptions = {}): ConnectError | undefined {
  if (error.details.some((d) => ("desc" in d ? d.desc.typeName : d.type) === ErrorInfoSchema.typeName)) return;
  const explained = explainByCode(error.code, error.rawMessage, refusalOf);
  explained.details.unshift(...error.details);
  onUnseen?.(explained);
  return explained;
}

function explainByCode(code: Code, detail: string, refusalOf: ExplainOptions["refusalOf"]): ConnectError {
  const metadata = { detail };
  switch (code) {
    case Code.InvalidArgument:
      // Only the protocol's own messages are passed on: those of decoders quote the body, and with it secrets.
      if (detail.startsWith("protocol error: ")) {
        return explainedError({ code, reason: "INVALID_FIELD", message: `${detail}; correct the request`, metadata });
      }
      return refusalOf?.() ?? undecodable();
    case Code.ResourceExhausted:
      return explainedError({ code, reason: "MESSAGE_TOO_LARGE", message: `${detail}; send less`, metadata });
    case Code.Unimplemented:
      return explainedError({ code, reason: "NOT_IMPLEMENTED", message: `${detail}; use what is offered`, metadata });
    case Code.DeadlineExceeded:
      return deadlineExceeded();
    case Code.Internal:
    case Code.Unknown:
      // Connect calls bytes that cannot be decoded, or are compressed unasked, its own fault; they are the client's.
      if (/^(parse binary: |received compressed envelope)/.test(detail)) return undecodable();
      return explainedError({ code: Code.Internal, reason: "INTERNAL", message: "internal error; report it" });
    default:
      return explainedError({ code, reason: "INTERNAL", message: detail, metadata });
  }
}

/** The deadline passed before the answer. */
export function deadlineExceeded(): ConnectError {
  const message = "the deadline passed before the answer; see whether the call took effect before repeating it";
  return explainedError({ code: Code.DeadlineExceeded, reason: "DEADLINE_EXCEEDED", message });
}

/** More calls came at once than are answered in time. */
export function tooManyAtOnce(): ConnectError {
  const message = "more calls came at once than are answered in time. Retry in a moment, or add workers or nodes";
  return explainedError({ code: Code.Unavailable, reason: "OVERLOADED", message, retryAfterMs: RETRY_DELAY_MS });
}

/** The client went away; no answer is sent. */
export function clientGone(cause?: unknown): ConnectError {
  return new ConnectError("the client went away", Code.Canceled, undefined, undefined, cause);
}

/** The body is no message of the method. */
export function undecodable(): ConnectError {
  const message = "the request body cannot be decoded; send the method's request message in the stated content type";
  return explainedError({ code: Code.InvalidArgument, reason: "INVALID_FIELD", message });
}

function explainTrailer(trailer: Headers, options: ExplainOptions): void {
  const error = findTrailerError(trailer);
  const explained = error && explain(error, options);
  if (explained) setTrailerStatus(trailer, explained);
}

async function* explainTrailerAtEnd(
  body: AsyncIterable<Uint8Array>,
  trailer: Headers,
  options: ExplainOptions,
): AsyncGenerator<Uint8Array> {
  yield* body;
  explainTrailer(trailer, options);
}

function explainWebTrailer(data: Uint8Array, options: ExplainOptions): Uint8Array {
  const trailer = trailerParse(data);
  explainTrailer(trailer, options);
  return trailerSerialize(trailer);
}

function explainEndStream(data: Uint8Array, options: ExplainOptions): Uint8Array {
  const serialization = createEndStreamSerialization(undefined);
  const end = serialization.parse(data);
  const error = end.error && (explain(end.error, options) ?? end.error);
  return error ? serialization.serialize({ ...end, error }) : data;
}

/** Rewrites the frames that carry exactly `flag`. The router yields one whole frame at a time. */
async function* rewriteFrames(
  body: AsyncIterable<Uint8Array>,
  { flag, rewrite }: { flag: number; rewrite: (data: Uint8Array) => Uint8Array },
): AsyncGenerator<Uint8Array> {
  for await (const frame of body) {
    yield frame[0] === flag ? encodeEnvelope(flag, rewrite(frame.subarray(5))) : frame;
  }
}

async function explainUnary(
  {
    body,
    header,
    status,
  }: Required<Pick<UniversalServerResponse, "header" | "status">> & {
    readonly body: AsyncIterable<Uint8Array>;
  },
  options: ExplainOptions,
): Promise<UniversalServerResponse> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  const error = errorFromJsonBytes(bytes, undefined, new ConnectError("internal error", Code.Internal));
  const explained = explain(error, options);
  if (explained === undefined) return { status, header, body: createAsyncIterable([bytes]) };
  const json = errorToJsonBytes(explained, undefined);
  header.set("content-length", String(json.byteLength));
  return { status: codeToHttpStatus(explained.code), header, body: createAsyncIterable([json]) };
}
