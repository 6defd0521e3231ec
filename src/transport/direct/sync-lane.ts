import { constants, type IncomingHttpHeaders, type OutgoingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  type SyncRequest,
  SyncRequestSchema,
  type SyncResponse,
  SyncResponseSchema,
} from "#gen/claviger/v1/key_verifier_pb.js";
import { Call } from "../../rpc/call.ts";
import type { OpenSync, SyncPeer, SyncStreams } from "../../rpc/sync/sync.ts";
import type { BodyBudget } from "../overload/body-budget.ts";
import { dropBody } from "../port/drop-body.ts";
import { ReceivedBytes } from "../port/received-bytes.ts";
import { peerAddressOfStream } from "../router/peer-address.ts";
import type { ReadBody } from "../router/request-body.ts";
import { clientGone, undecodable } from "../router/router-errors.ts";
import { asConnectError, CONTENT_TYPE, isPlainGrpc, PREFIX_BYTES, trailersOf } from "./plain-grpc.ts";

export interface SyncLaneOptions {
  readonly method: Pick<SyncStreams, "path" | "enter" | "admit" | "open" | "unread" | "ended">;
  /** Longest message of a client. */
  readonly maxMessageBytes: number;
  /** Bytes that may wait to be read by one client; from half of that on nothing is read from it. */
  readonly mostWaitingBytes: number;
  /** Counts all bytes of a stream, and those that come after a refusal. */
  readonly budget: BodyBudget;
  /** Called with each exception that nothing else handled: a defect, and its stream ends as INTERNAL. */
  readonly onDefect: (error: unknown) => void;
  /** Serves every other stream. */
  readonly route: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, body?: ReadBody) => void;
}

const NOTHING = Buffer.alloc(0);

/**
 * Serves plain gRPC streams of `Sync` on their HTTP/2 streams, and routes the rest.
 * Why: docs/decisions/0007-direct-path-past-connect.md.
 */
export function createSyncLane(options: SyncLaneOptions) {
  return (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, body?: ReadBody): void => {
    // Connect ends a stream at its deadline; this lane knows none.
    const isPlain = isPlainGrpc(headers, options.method.path) && headers["grpc-timeout"] === undefined;
    if (body === undefined && isPlain) new SyncExchange(stream, options).begin(headers);
    else options.route(stream, headers, body);
  };
}

/** One stream of one client. */
class SyncExchange implements SyncPeer {
  readonly #stream: ServerHttp2Stream;
  readonly #options: SyncLaneOptions;
  readonly #call: Call;
  readonly #connection: object;
  #open: OpenSync | undefined;
  readonly #received = new ReceivedBytes();
  #head: OutgoingHttpHeaders = { ":status": 200, "content-type": CONTENT_TYPE };
  #hasEnded = false;
  /** Whether what has come waits for a turn; nothing more is read meanwhile. */
  #isWaiting = false;
  #isFinished = false;
  readonly #onTurn = this.#contain<void>(() => {
    this.#isWaiting = false;
    this.#goOn(true);
  });
  #trailers: OutgoingHttpHeaders = { "grpc-status": "0" };

  constructor(stream: ServerHttp2Stream, options: SyncLaneOptions) {
    this.#stream = stream;
    this.#options = options;
    this.#call = new Call(peerAddressOfStream(stream));
    this.#connection = stream.session ?? stream;
  }

  begin(headers: IncomingHttpHeaders): void {
    const stream = this.#stream;
    stream.on("error", () => undefined);
    stream.on(
      "close",
      this.#contain(() => this.#close()),
    );
    this.#serve(headers).catch((error: unknown) => this.#crash(error));
  }

  /** A refusal at sight comes in the same turn: no byte of the body is listened for. */
  async #serve(headers: IncomingHttpHeaders): Promise<void> {
    const { method } = this.#options;
    const stream = this.#stream;
    const askedId = headers["x-request-id"];
    const authorization = headers.authorization ?? null;
    const requestId = method.enter(this.#call, typeof askedId === "string" ? askedId : null);
    this.#head = { ...this.#head, "x-request-id": requestId };
    try {
      const admission = method.admit(this.#call, authorization);
      if (admission !== undefined) await admission;
      if (stream.destroyed || stream.closed) return;
      this.#open = method.open(this.#call, authorization, this);
    } catch (error) {
      if (!(error instanceof ConnectError)) throw error;
      this.#refuse(error);
      return;
    }
    stream.respond(this.#head, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers(this.#trailers));
    stream.on(
      "data",
      this.#contain((chunk: Buffer) => this.#read(chunk)),
    );
    stream.on(
      "drain",
      this.#contain(() => this.#goOn(false)),
    );
    // A stream without a body has ended while the caller was authenticated, though nothing read from it.
    if (stream.readableEnded) this.#finish();
    else
      stream.on(
        "end",
        this.#contain(() => this.#finish()),
      );
  }

  send(message: SyncResponse): void {
    if (this.#hasEnded) return;
    if (this.#stream.writableLength > this.#options.mostWaitingBytes) {
      this.end(this.#options.method.unread());
      return;
    }
    const bytes = toBinary(SyncResponseSchema, message);
    const frame = Buffer.allocUnsafe(PREFIX_BYTES + bytes.length);
    frame[0] = 0;
    frame.writeUInt32BE(bytes.length, 1);
    frame.set(bytes, PREFIX_BYTES);
    this.#stream.write(frame);
  }

  end(error?: ConnectError): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#options.method.ended(this.#call, error);
    if (error !== undefined) this.#trailers = trailersOf(error);
    if (this.#stream.destroyed) return;
    this.#stream.end();
    // It may have been paused, and does not drain any more: Node (26) would wait for good until the rest is read.
    dropBody(this.#stream, this.#options.budget);
  }

  #refuse(error: ConnectError): void {
    this.#hasEnded = true;
    this.#options.method.ended(this.#call, error);
    if (this.#stream.destroyed || this.#stream.closed) return;
    this.#stream.respond({ ...this.#head, ...trailersOf(error) }, { endStream: true });
    dropBody(this.#stream, this.#options.budget);
  }

  #close(): void {
    this.#open?.close();
    this.end(clientGone());
  }

  /** Makes a listener that no exception leaves: out of one it would end the process. */
  #contain<Event>(work: (event: Event) => void): (event: Event) => void {
    return (event) => {
      try {
        work(event);
      } catch (error) {
        this.#crash(error);
      }
    };
  }

  #crash(error: unknown): void {
    this.#options.onDefect(error);
    try {
      const internal = asConnectError(error);
      if (this.#stream.headersSent) this.end(internal);
      else if (!this.#hasEnded) this.#refuse(internal);
    } catch (again) {
      this.#options.onDefect(again);
      this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    }
  }

  #read(chunk: Buffer): void {
    const { budget } = this.#options;
    budget.credit(this.#connection, chunk.length);
    this.#received.add(chunk);
    const messages = this.#isWaiting ? 0 : this.#work(false);
    budget.piece(this.#connection, chunk.length, messages);
    this.#pauseIfBusy();
  }

  /** It is this stream's turn, or what was sent to its client has left. */
  #goOn(isTurn: boolean): void {
    if (this.#hasEnded || this.#isWaiting) return;
    const messages = this.#work(isTurn);
    if (messages > 0) this.#options.budget.piece(this.#connection, 0, messages);
    if (this.#isFinished) this.#finish();
    if (!this.#pauseIfBusy() && !this.#hasEnded) this.#stream.resume();
  }

  /** Handles the messages that have come, as far as their turn allows; returns how many. `isTurn`: for the first. */
  #work(isTurn: boolean): number {
    const all = this.#received.bytes;
    let at = 0;
    let messages = 0;
    for (let size = this.#sizeAt(all, at); !this.#hasEnded && at + size <= all.length; size = this.#sizeAt(all, at)) {
      if (!(isTurn && messages === 0) && !this.#hasTurn()) break;
      this.#handle(all.subarray(at + PREFIX_BYTES, at + size));
      at += size;
      messages += 1;
    }
    if (this.#hasEnded) this.#received.restartWith(NOTHING);
    else if (at > 0) this.#received.restartWith(all.subarray(at));
    return messages;
  }

  #hasTurn(): boolean {
    this.#isWaiting = this.#open?.turn(this.#onTurn) === false;
    return !this.#isWaiting;
  }

  /** Reads nothing while messages wait for a turn, or while the client reads too little of its answers. */
  #pauseIfBusy(): boolean {
    const { writableNeedDrain, writableLength } = this.#stream;
    const isUnread = writableNeedDrain && writableLength > this.#options.mostWaitingBytes / 2;
    const isBusy = !this.#hasEnded && (this.#isWaiting || isUnread);
    if (isBusy) this.#stream.pause();
    return isBusy;
  }

  #finish(): void {
    // Node (26) also ends what its client has left.
    if (this.#stream.closed) return;
    this.#isFinished = true;
    if (this.#isWaiting) return;
    if (this.#received.size > 0) this.end(undecodable());
    else this.#open?.finish();
  }

  /** The size of the message that begins there, with its prefix; infinite until that is known. */
  #sizeAt(bytes: Buffer, at: number): number {
    if (bytes.length < at + PREFIX_BYTES) return Number.POSITIVE_INFINITY;
    const { maxMessageBytes } = this.#options;
    const length = bytes.readUInt32BE(at + 1);
    if (length > maxMessageBytes) this.end(tooLarge(maxMessageBytes));
    else if (bytes[at] !== 0) this.end(undecodable());
    return PREFIX_BYTES + length;
  }

  #handle(bytes: Buffer): void {
    const request = decoded(bytes);
    if (request === undefined) this.end(undecodable());
    else this.#open?.handle(request);
  }
}

function decoded(bytes: Buffer): SyncRequest | undefined {
  try {
    return fromBinary(SyncRequestSchema, bytes);
  } catch {
    return undefined;
  }
}

function tooLarge(most: number): ConnectError {
  return new ConnectError(`the message is larger than ${most} bytes`, Code.ResourceExhausted);
}
