import { constants, type IncomingHttpHeaders, type OutgoingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { Code, ConnectError, type ContextValues, createContextValues } from "@connectrpc/connect";
import { parseTimeout, setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { peerAddressKey } from "../rpc/call.ts";
import type { DeadlineLimits } from "./deadline.ts";
import { peerAddressOfStream } from "./peer-address.ts";
import { clientGone, deadlineExceeded, explain } from "./router-errors.ts";
import { stopSending } from "./write-response.ts";

/** A unary method past the router; `VerifyCall` of `rpc/`. */
export interface DirectCall {
  /** `/package.Service/Method`. */
  readonly path: string;
  /** Notes the call; returns its id. */
  enter(values: ContextValues, askedId: string | null): string;
  /** Undefined if the caller may call; rejects with a ConnectError. */
  admit(values: ContextValues, authorization: string | null): Promise<void> | undefined;
  /** The answer after `headroom` bytes. Throws or rejects with a ConnectError, or anything else for a body that is no message. */
  answer(body: Uint8Array, values: ContextValues, headroom: number): Buffer | Promise<Buffer>;
  /** The call ended in an error of the transport: before its request was read, or while it was being answered. */
  abandoned(values: ContextValues, error: ConnectError, isRead: boolean): void;
}

export interface FastLaneOptions extends DeadlineLimits {
  readonly call: DirectCall;
  /** Longest request message. */
  readonly maxMessageBytes: number;
  /**
   * Serves what is not plain, as if the lane were not there; with the part of the body that has been read, and whether
   * that is all of it.
   */
  readonly route: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, body?: ReadBody) => void;
}

/** What of a body has been read. */
export interface ReadBody {
  readonly chunks: readonly Buffer[];
  readonly isAll: boolean;
}

/** Flags and length before each message of gRPC. */
const PREFIX_BYTES = 5;
const CONTENT_TYPE = "application/grpc+proto";
const OK_TRAILERS = { "grpc-status": "0" };

/**
 * Serves plain unary gRPC calls of one method on an HTTP/2 stream itself, and routes the rest: other methods and
 * content types, compression, malformed timeouts, and bodies that are not exactly one uncompressed message. On Node 26
 * Connect's router takes 290 µs of CPU for an empty call, a bare HTTP/2 exchange 26.
 */
export function createFastLane(options: FastLaneOptions) {
  const { call, route } = options;
  return (stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void => {
    const timeoutMs = isPlain(headers, call.path) ? timeoutOf(headers, options) : undefined;
    if (timeoutMs === undefined) route(stream, headers);
    else new FastExchange(stream, headers, options).begin(timeoutMs);
  };
}

/** One call on its stream. */
class FastExchange {
  readonly #stream: ServerHttp2Stream;
  readonly #headers: IncomingHttpHeaders;
  readonly #options: FastLaneOptions;
  readonly #values = createContextValues();
  readonly #chunks: Buffer[] = [];
  #requestId = "";
  #size = 0;
  #hasBody = false;
  #isAdmitted = false;
  #isAnswering = false;
  /** Nothing is written any more: it was, or somebody else serves, or nobody listens. */
  #isDone = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, options: FastLaneOptions) {
    this.#stream = stream;
    this.#headers = headers;
    this.#options = options;
  }

  begin(timeoutMs: number): void {
    const { call } = this.#options;
    const headers = this.#headers;
    this.#values.set(peerAddressKey, peerAddressOfStream(this.#stream));
    this.#requestId = call.enter(this.#values, stringOf(headers["x-request-id"]));
    const admission = call.admit(this.#values, headers.authorization ?? null);
    if (admission === undefined) this.#isAdmitted = true;
    else admission.then(this.#onAdmitted, this.#onRefused);
    this.#timer = setTimeout(this.#onDeadline, timeoutMs);
    this.#stream.on("data", this.#onData);
    this.#stream.on("end", this.#onEnd);
    this.#stream.on("error", ignore);
    this.#stream.on("close", this.#onClose);
  }

  readonly #onAdmitted = (): void => {
    this.#isAdmitted = true;
    if (this.#hasBody) this.#answer();
  };

  readonly #onRefused = (error: unknown): void => {
    this.#fail(asConnectError(error));
  };

  readonly #onData = (chunk: Buffer): void => {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    if (this.#size >= PREFIX_BYTES && this.#isOdd()) this.#giveUp(false);
  };

  /** Whether what has come can not become one plain message any more. The router says so without waiting for the rest. */
  #isOdd(): boolean {
    const [first] = this.#chunks;
    const head = first !== undefined && first.length >= PREFIX_BYTES ? first : Buffer.concat(this.#chunks);
    const length = head.readUInt32BE(1);
    return head[0] !== 0 || length > this.#options.maxMessageBytes || this.#size > PREFIX_BYTES + length;
  }

  readonly #onEnd = (): void => {
    this.#hasBody = true;
    if (this.#isAdmitted) this.#answer();
  };

  readonly #onDeadline = (): void => {
    const error = deadlineExceeded();
    this.#options.call.abandoned(this.#values, error, this.#hasBody);
    this.#fail(error);
  };

  readonly #onClose = (): void => {
    if (this.#isDone) return;
    this.#options.call.abandoned(this.#values, clientGone(), this.#hasBody);
    this.#finish();
  };

  #answer(): void {
    if (this.#isDone || this.#isAnswering) return;
    this.#isAnswering = true;
    const [first] = this.#chunks;
    const body = this.#chunks.length === 1 && first !== undefined ? first : Buffer.concat(this.#chunks);
    if (!isOneMessage(body)) {
      this.#giveUp(true);
      return;
    }
    try {
      const answer = this.#options.call.answer(body.subarray(PREFIX_BYTES), this.#values, PREFIX_BYTES);
      if (Buffer.isBuffer(answer)) this.#reply(answer);
      else answer.then(this.#onAnswered, this.#onRefused);
    } catch (error) {
      if (error instanceof ConnectError) this.#fail(error);
      else this.#giveUp(true);
    }
  }

  readonly #onAnswered = (answer: Buffer): void => {
    if (!this.#isDone) this.#reply(answer);
  };

  #reply(answer: Buffer): void {
    this.#finish();
    answer[0] = 0;
    answer.writeUInt32BE(answer.length - PREFIX_BYTES, 1);
    const stream = this.#stream;
    stream.respond(this.#responseHeaders(), { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers(OK_TRAILERS));
    stream.end(answer);
  }

  /** As Trailers-Only: by gRFC A6 a client retries only those. */
  #fail(error: ConnectError): void {
    if (this.#isDone) return;
    this.#finish();
    if (this.#stream.destroyed || this.#stream.closed) return;
    const trailers = setTrailerStatus(new Headers(), explain(error) ?? error);
    this.#stream.respond({ ...this.#responseHeaders(), ...Object.fromEntries(trailers) }, { endStream: true });
    if (!this.#hasBody) {
      this.#stream.off("data", this.#onData).resume();
      stopSending(this.#stream);
    }
  }

  #giveUp(isAll: boolean): void {
    if (this.#isDone) return;
    this.#finish();
    this.#stream.off("data", this.#onData).off("end", this.#onEnd).pause();
    this.#options.route(this.#stream, this.#headers, { chunks: this.#chunks, isAll });
  }

  #finish(): void {
    this.#isDone = true;
    clearTimeout(this.#timer);
  }

  #responseHeaders(): OutgoingHttpHeaders {
    return { ":status": 200, "content-type": CONTENT_TYPE, "x-request-id": this.#requestId };
  }
}

function isPlain(headers: IncomingHttpHeaders, path: string): boolean {
  const type = headers["content-type"];
  const encoding = headers["grpc-encoding"];
  return (
    headers[constants.HTTP2_HEADER_PATH] === path &&
    headers[constants.HTTP2_HEADER_METHOD] === "POST" &&
    (type === CONTENT_TYPE || type === "application/grpc") &&
    (encoding === undefined || encoding === "identity") &&
    headers.expect === undefined
  );
}

/** In milliseconds; undefined for one that is malformed. */
function timeoutOf(
  headers: IncomingHttpHeaders,
  { defaultDeadlineMs, maxDeadlineMs }: DeadlineLimits,
): number | undefined {
  const given = headers["grpc-timeout"];
  if (given === undefined) return defaultDeadlineMs;
  const { timeoutMs } = parseTimeout(stringOf(given), Number.MAX_SAFE_INTEGER);
  return timeoutMs === undefined ? undefined : Math.min(timeoutMs, maxDeadlineMs);
}

/** Exactly one, whole and not compressed. */
function isOneMessage(body: Buffer): boolean {
  return body.length >= PREFIX_BYTES && body[0] === 0 && body.readUInt32BE(1) === body.length - PREFIX_BYTES;
}

function stringOf(header: string | string[] | undefined): string | null {
  return typeof header === "string" ? header : (header?.join(", ") ?? null);
}

function asConnectError(error: unknown): ConnectError {
  return error instanceof ConnectError ? error : new ConnectError("internal error", Code.Internal);
}

function ignore(): void {
  // `close` comes after it.
}
