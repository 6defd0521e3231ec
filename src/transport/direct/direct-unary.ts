import { ConnectError } from "@connectrpc/connect";
import { ErrorCode } from "../../http2/frames.ts";
import type { Http2Stream, StreamReceiver } from "../../http2/stream.ts";
import { Call } from "../../rpc/call.ts";
import type { ReadBody } from "../http/http2-exchange.ts";
import { PREFIX_BYTES } from "../http/message-ends.ts";
import type { Peers } from "../http/peer-address.ts";
import type { DeadlineLimits } from "../router/deadline.ts";
import { clientGone, deadlineExceeded } from "../router/router-errors.ts";
import { type AnswerBlocks, asConnectError, type CallFacts, factsOf } from "./plain-grpc.ts";
import { ReceivedBytes } from "./received-bytes.ts";

/** A unary method past the router; `VerifyCall` of `rpc/`. */
export interface DirectMethod {
  /** `/package.Service/Method`. */
  readonly path: string;
  /** Notes the call; returns its id. */
  enter(call: Call, askedId: string | null): string;
  /**
   * Undefined if the caller may call; a promise where that takes I/O. Throws a ConnectError for a credential that is
   * refused at sight, and rejects with one for others.
   */
  admit(call: Call, authorization: string | null): Promise<void> | undefined;
  /**
   * Answers at once or later; in both cases the message comes after `prefix` bytes. Throws or rejects with a
   * ConnectError, or with any other error for a body that cannot be decoded.
   */
  answer(body: Buffer, call: Call, prefix: number): Buffer | Promise<Buffer>;
  /** The call ended in an error of the transport: before its request was read, or while it was being answered. */
  abandoned(call: Call, error: ConnectError): void;
}

export interface DirectUnaryOptions extends DeadlineLimits {
  readonly method: DirectMethod;
  /** Longest request message. */
  readonly maxMessageBytes: number;
  readonly peers: Peers;
  readonly blocks: AnswerBlocks;
  /** Called with each exception that nothing else handled: a defect, and its call ends as INTERNAL. */
  readonly onDefect: (error: unknown) => void;
  /**
   * Serves what is not plain, as if this path were not there; with the part of the body that has been read, and whether
   * that is all of it.
   */
  readonly route: (stream: Http2Stream, body?: ReadBody) => void;
}

/**
 * Serves plain unary gRPC calls of one method on their HTTP/2 streams. Routes all else: other content types, compression,
 * malformed timeouts, bodies that are not one message. Why: docs/decisions/0007-direct-path-past-connect.md.
 */
export function createDirectUnary(options: DirectUnaryOptions): (stream: Http2Stream) => void {
  const { route, defaultDeadlineMs, maxDeadlineMs } = options;
  const deadlines = new Deadlines();
  return (stream) => {
    const facts = factsOf(stream.head);
    if (!facts.isPlain || facts.timeoutMs === undefined) {
      route(stream);
      return;
    }
    const exchange = new UnaryExchange(stream, facts, options);
    exchange.begin();
    const timeoutMs = facts.timeoutMs === "none" ? defaultDeadlineMs : Math.min(facts.timeoutMs, maxDeadlineMs);
    deadlines.add(exchange, timeoutMs);
  };
}

/** One call on its stream. */
class UnaryExchange implements StreamReceiver {
  readonly #stream: Http2Stream;
  readonly #facts: CallFacts;
  readonly #options: DirectUnaryOptions;
  readonly #call: Call;
  #received: ReceivedBytes | undefined;
  #requestId = "";
  #hasBody = false;
  #isAdmitted = false;
  #isAnswering = false;
  /** True once it is finished: answered, handed to the router, or abandoned by the client. */
  isDone = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(stream: Http2Stream, facts: CallFacts, options: DirectUnaryOptions) {
    this.#stream = stream;
    this.#facts = facts;
    this.#options = options;
    this.#call = new Call(options.peers.of(stream.connection).address);
    stream.receiver = this;
  }

  begin(): void {
    try {
      const { method } = this.#options;
      this.#requestId = method.enter(this.#call, this.#facts.requestId);
      const admission = this.#admit();
      if (this.isDone) return;
      if (admission === undefined) this.#isAdmitted = true;
      else void this.#awaitAdmission(admission);
    } catch (error) {
      this.#crash(error);
    }
  }

  data(bytes: Buffer, from: number, to: number, isLast: boolean): void {
    if (this.isDone) return;
    try {
      if (isLast && this.#isAdmitted && this.#received === undefined) {
        this.#hasBody = true;
        this.#answer(bytes.subarray(from, to));
        return;
      }
      this.#received ??= new ReceivedBytes();
      if (to > from) this.#received.add(Buffer.from(bytes.subarray(from, to)));
      this.#hasBody = isLast;
      if (!isLast && this.#isHopeless()) this.#giveUp(false);
      else if (isLast && this.#isAdmitted) this.#answer(this.#received.bytes);
    } catch (error) {
      this.#crash(error);
    }
  }

  drained(): void {
    // One message waits for nothing.
  }

  closed(): void {
    if (this.isDone) return;
    try {
      this.#leave();
    } catch (error) {
      this.#crash(error);
    }
  }

  endWithin(timeoutMs: number): void {
    this.#timer = setTimeout(() => {
      try {
        this.#expire();
      } catch (error) {
        this.#crash(error);
      }
    }, timeoutMs);
  }

  /** Ends the call after an exception that nothing else handled. */
  #crash(error: unknown): void {
    this.#options.onDefect(error);
    if (this.isDone) return;
    try {
      const internal = asConnectError(error);
      this.#options.method.abandoned(this.#call, internal);
      this.#fail(internal);
    } catch (again) {
      this.#options.onDefect(again);
      this.#finish();
      this.#stream.reset(ErrorCode.internalError);
    }
  }

  #admit(): Promise<void> | undefined {
    try {
      return this.#options.method.admit(this.#call, this.#facts.authorization);
    } catch (error) {
      if (!(error instanceof ConnectError)) throw error;
      this.#fail(error);
      return undefined;
    }
  }

  async #awaitAdmission(admission: Promise<void>): Promise<void> {
    try {
      await admission;
      this.#isAdmitted = true;
      if (this.#hasBody) this.#answer(this.#received?.bytes ?? NOTHING);
    } catch (error) {
      if (error instanceof ConnectError) this.#fail(error);
      else this.#crash(error);
    }
  }

  /** Whether what has come cannot become one plain message any more. The router says so without waiting for the rest. */
  #isHopeless(): boolean {
    const { bytes = NOTHING, size = 0 } = this.#received ?? {};
    if (size < PREFIX_BYTES) return false;
    const length = bytes.readUInt32BE(1);
    return bytes[0] !== 0 || length > this.#options.maxMessageBytes || size > PREFIX_BYTES + length;
  }

  #leave(): void {
    this.#options.method.abandoned(this.#call, clientGone());
    this.#finish();
  }

  #expire(): void {
    const error = deadlineExceeded();
    this.#options.method.abandoned(this.#call, error);
    this.#fail(error);
  }

  #answer(body: Buffer): void {
    if (this.isDone || this.#isAnswering) return;
    this.#isAnswering = true;
    if (!isOneMessage(body) || body.length - PREFIX_BYTES > this.#options.maxMessageBytes) {
      this.#giveUp(true, body);
      return;
    }
    try {
      const answer = this.#options.method.answer(body, this.#call, PREFIX_BYTES);
      if (Buffer.isBuffer(answer)) this.#reply(answer);
      else void this.#awaitAnswer(answer);
    } catch (error) {
      if (error instanceof ConnectError) this.#fail(error);
      else this.#giveUp(true, body);
    }
  }

  async #awaitAnswer(answer: Promise<Buffer>): Promise<void> {
    try {
      this.#reply(await answer);
    } catch (error) {
      if (error instanceof ConnectError) this.#fail(error);
      else this.#crash(error);
    }
  }

  #reply(answer: Buffer): void {
    if (this.isDone) return;
    this.#finish();
    answer[0] = 0;
    answer.writeUInt32BE(answer.length - PREFIX_BYTES, 1);
    const { blocks } = this.#options;
    this.#stream.answer(blocks.head(this.#requestId), answer, blocks.ok);
  }

  #fail(error: ConnectError): void {
    if (this.isDone) return;
    this.#finish();
    this.#stream.respond(this.#options.blocks.trailersOnly(this.#requestId, error), true);
  }

  #giveUp(isAll: boolean, body: Buffer = this.#received?.bytes ?? NOTHING): void {
    if (this.isDone) return;
    this.#finish();
    this.#options.route(this.#stream, { bytes: Buffer.from(body), isAll });
  }

  #finish(): void {
    this.isDone = true;
    clearTimeout(this.#timer);
  }
}

const NOTHING = Buffer.alloc(0);

/** Sets deadlines for those calls only that are not answered in the turn in which they came: setting and clearing a timer takes 0.4 µs. */
class Deadlines {
  #waiting: { readonly exchange: UnaryExchange; readonly timeoutMs: number }[] = [];

  add(exchange: UnaryExchange, timeoutMs: number): void {
    if (exchange.isDone) return;
    this.#waiting.push({ exchange, timeoutMs });
    if (this.#waiting.length === 1) setImmediate(() => this.#set());
  }

  #set(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { exchange, timeoutMs } of waiting) if (!exchange.isDone) exchange.endWithin(timeoutMs);
  }
}

/** Exactly one, whole and not compressed. */
function isOneMessage(body: Buffer): boolean {
  return body.length >= PREFIX_BYTES && body[0] === 0 && body.readUInt32BE(1) === body.length - PREFIX_BYTES;
}
