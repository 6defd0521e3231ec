import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  type SyncRequest,
  SyncRequestSchema,
  type SyncResponse,
  SyncResponseSchema,
} from "#gen/claviger/v1/key_verifier_pb.js";
import { ErrorCode } from "../../http2/frames.ts";
import type { Http2Stream, StreamReceiver } from "../../http2/stream.ts";
import { Call } from "../../rpc/call.ts";
import type { OpenSync, SyncPeer, SyncStreams } from "../../rpc/sync/sync.ts";
import { MessageEnds, PREFIX_BYTES } from "../http/message-ends.ts";
import type { Peers } from "../http/peer-address.ts";
import { clientGone, undecodable } from "../router/router-errors.ts";
import { type AnswerBlocks, asConnectError, factsOf } from "./plain-grpc.ts";
import { ReceivedBytes } from "./received-bytes.ts";

export interface DirectSyncOptions {
  readonly method: Pick<SyncStreams, "path" | "enter" | "admit" | "open" | "unread" | "ended">;
  /** Longest message of a client. */
  readonly maxMessageBytes: number;
  /** Bytes that may wait to be read by one client; from half of that on nothing is read from it. */
  readonly mostWaitingBytes: number;
  readonly peers: Peers;
  readonly blocks: AnswerBlocks;
  /** Called with each exception that nothing else handled: a defect, and its stream ends as INTERNAL. */
  readonly onDefect: (error: unknown) => void;
  /** Serves every other stream. */
  readonly route: (stream: Http2Stream) => void;
}

/** Serves plain gRPC streams of `Sync`, and routes the rest. Why: docs/decisions/0007-direct-path-past-connect.md. */
export function createDirectSync(options: DirectSyncOptions): (stream: Http2Stream) => void {
  return (stream) => {
    const { isPlain, timeoutMs } = factsOf(stream.head);
    // Connect ends a stream at its deadline; this path knows none.
    if (isPlain && timeoutMs === "none") new SyncExchange(stream, options).begin();
    else options.route(stream);
  };
}

/** One stream of one client. */
class SyncExchange implements SyncPeer, StreamReceiver {
  readonly #stream: Http2Stream;
  readonly #options: DirectSyncOptions;
  readonly #call: Call;
  #open: OpenSync | undefined;
  readonly #received = new ReceivedBytes();
  readonly #ends = new MessageEnds();
  #requestId = "";
  #hasResponded = false;
  #hasEnded = false;
  /** Whether what has come waits for a turn. */
  #isWaiting = false;
  #isFinished = false;
  readonly #onTurn = () => {
    this.#contain(() => {
      this.#isWaiting = false;
      this.#goOn(true);
    });
  };

  constructor(stream: Http2Stream, options: DirectSyncOptions) {
    this.#stream = stream;
    this.#options = options;
    this.#call = new Call(options.peers.of(stream.connection).address);
    stream.receiver = this;
  }

  begin(): void {
    this.#stream.pause();
    this.#serve().catch((error: unknown) => this.#crash(error));
  }

  async #serve(): Promise<void> {
    const { method, blocks } = this.#options;
    const { authorization, requestId } = factsOf(this.#stream.head);
    this.#requestId = method.enter(this.#call, requestId);
    try {
      const admission = method.admit(this.#call, authorization);
      if (admission !== undefined) await admission;
      if (this.#stream.isClosed) return;
      this.#open = method.open(this.#call, authorization, this);
    } catch (error) {
      if (!(error instanceof ConnectError)) throw error;
      this.end(error);
      return;
    }
    this.#hasResponded = true;
    this.#stream.respond(blocks.head(this.#requestId), false);
    this.#goOn(false);
  }

  send(message: SyncResponse): void {
    if (this.#hasEnded) return;
    if (this.#stream.waitingBytes > this.#options.mostWaitingBytes) {
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
    const { method, blocks } = this.#options;
    method.ended(this.#call, error);
    const trailers = error === undefined ? blocks.ok : blocks.trailers(error);
    if (this.#hasResponded) this.#stream.end(trailers);
    else this.#stream.respond(Buffer.concat([blocks.head(this.#requestId), trailers]), true);
  }

  data(bytes: Buffer, from: number, to: number, isLast: boolean): void {
    this.#contain(() => this.#take(bytes.subarray(from, to), isLast));
  }

  drained(): void {
    this.#contain(() => this.#goOn(false));
  }

  closed(): void {
    this.#contain(() => {
      this.#open?.close();
      this.end(clientGone());
    });
  }

  #take(bytes: Buffer, isLast: boolean): void {
    if (this.#hasEnded) return;
    if (bytes.length > 0) this.#received.add(Buffer.from(bytes));
    // As they come, not as they are handled: they may wait for a turn meanwhile.
    const messages = this.#ends.of(bytes).length;
    if (messages > 0) this.#stream.connection.messagesCame(messages);
    this.#isFinished = isLast;
    // DATA within the window still arrives while the client is held back; it waits too.
    if (!this.#pauseIfBusy()) this.#goOn(false);
  }

  #contain(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#crash(error);
    }
  }

  #crash(error: unknown): void {
    this.#options.onDefect(error);
    try {
      this.end(asConnectError(error));
    } catch (again) {
      this.#options.onDefect(again);
      this.#stream.reset(ErrorCode.internalError);
    }
  }

  /** It is this stream's turn, something came, or what was sent to its client has left. */
  #goOn(isTurn: boolean): void {
    if (this.#hasEnded || this.#isWaiting) return;
    this.#work(isTurn);
    if (this.#isFinished && !this.#isWaiting && !this.#hasEnded) this.#finish();
    if (!this.#pauseIfBusy()) this.#stream.resume();
  }

  /** Handles the messages that have come, as far as their turn allows. `isTurn`: for the first. */
  #work(isTurn: boolean): void {
    const all = this.#received.bytes;
    let at = 0;
    let isFirst = true;
    for (let size = this.#sizeAt(all, at); !this.#hasEnded && at + size <= all.length; size = this.#sizeAt(all, at)) {
      if (!(isTurn && isFirst) && !this.#hasTurn()) break;
      this.#handle(all.subarray(at + PREFIX_BYTES, at + size));
      at += size;
      isFirst = false;
    }
    if (this.#hasEnded) this.#received.restartWith(NOTHING);
    else if (at > 0) this.#received.restartWith(all.subarray(at));
  }

  #hasTurn(): boolean {
    this.#isWaiting = this.#open?.turn(this.#onTurn) === false;
    return !this.#isWaiting;
  }

  /** Holds the client back while messages wait for a turn, or while it reads too little of its answers. */
  #pauseIfBusy(): boolean {
    const isUnread = this.#stream.waitingBytes > this.#options.mostWaitingBytes / 2;
    const isBusy = !this.#hasEnded && (this.#open === undefined || this.#isWaiting || isUnread);
    if (isBusy) this.#stream.pause();
    return isBusy;
  }

  #finish(): void {
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

const NOTHING = Buffer.alloc(0);

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
