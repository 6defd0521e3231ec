import { Code, ConnectError } from "@connectrpc/connect";
import { parseTimeout, setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { encodeHeaders, encodeStatus } from "../../http2/hpack/encoder.ts";
import type { RequestHead } from "../../http2/request-head.ts";
import { PROCESS_HEADER, REQUEST_ID_HEADER } from "../../rpc/gate.ts";
import { isTraced } from "../../system/tracing.ts";
import { explain } from "../router/router-errors.ts";

const CONTENT_TYPE = "application/grpc+proto";

/** The facts that the direct path reads of a head. */
export interface CallFacts {
  /** A plain gRPC call: no compression, no other encoding. */
  readonly isPlain: boolean;
  /** In milliseconds; undefined for one that is malformed; `none` without one. */
  readonly timeoutMs: number | undefined | "none";
  readonly authorization: string | null;
  /** The id that the caller asks for. */
  readonly requestId: string | null;
}

/** Worked out once for each head that comes again. */
export function factsOf(head: RequestHead): CallFacts {
  head.notes ??= readFacts(head);
  return head.notes as CallFacts;
}

function readFacts({ method, headers }: RequestHead): CallFacts {
  const type = headers.get("content-type");
  const encoding = headers.get("grpc-encoding");
  const timeout = headers.get("grpc-timeout");
  return {
    isPlain:
      method === "POST" &&
      (type === CONTENT_TYPE || type === "application/grpc") &&
      (encoding === undefined || encoding === "identity") &&
      !headers.has(PROCESS_HEADER) &&
      !headers.has("expect") &&
      // The router makes the span.
      !isTraced(headers.get("traceparent")),
    timeoutMs: timeout === undefined ? "none" : parseTimeout(timeout, Number.MAX_SAFE_INTEGER).timeoutMs,
    authorization: headers.get("authorization") ?? null,
    requestId: headers.get(REQUEST_ID_HEADER) ?? null,
  };
}

/** The header blocks of answers, prepared. */
export class AnswerBlocks {
  readonly #head = Buffer.concat([encodeStatus(200), encodeHeaders([["content-type", CONTENT_TYPE]])]);
  /** The head with an id of this server's, of which only the last bytes change. */
  readonly #headWithId = this.#withId("0".repeat(OWN_ID_LENGTH));
  readonly ok = encodeHeaders([["grpc-status", "0"]]);
  /** Blocks of errors that are sent again and again, such as OVERLOADED. */
  readonly #errors = new WeakMap<ConnectError, Buffer>();

  /** The head of an answer. Good until the next call. */
  head(requestId: string): Buffer {
    if (requestId.length !== OWN_ID_LENGTH) return this.#withId(requestId);
    this.#headWithId.write(requestId, this.#headWithId.length - OWN_ID_LENGTH, "latin1");
    return this.#headWithId;
  }

  /** How a call ends with an error; every one carries ErrorInfo. */
  trailers(error: ConnectError): Buffer {
    const known = this.#errors.get(error);
    if (known !== undefined) return known;
    const block = encodeHeaders(setTrailerStatus(new Headers(), explain(error) ?? error));
    this.#errors.set(error, block);
    return block;
  }

  /** An error as Trailers-Only: by gRFC A6 a client retries only those. */
  trailersOnly(requestId: string, error: ConnectError): Buffer {
    return Buffer.concat([this.head(requestId), this.trailers(error)]);
  }

  #withId(requestId: string): Buffer {
    return Buffer.concat([this.#head, encodeHeaders([[REQUEST_ID_HEADER, requestId]])]);
  }
}

/** Digits of the ids that the gate makes. */
const OWN_ID_LENGTH = 24;

export function asConnectError(error: unknown): ConnectError {
  return error instanceof ConnectError ? error : new ConnectError("internal error", Code.Internal);
}
