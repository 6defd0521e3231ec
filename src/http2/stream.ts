import type { Socket } from "node:net";
import { ErrorCode, FIRST_WINDOW } from "./frames.ts";
import type { RequestHead } from "./request-head.ts";

/** Takes what comes on one stream. No method may keep the bytes that it is given: they are overwritten later. */
export interface StreamReceiver {
  /** A part of the body; `isLast` with the end of the request, where the part may be empty. */
  data(bytes: Buffer, from: number, to: number, isLast: boolean): void;
  /** The bytes that waited have been sent. Never called out of `write`. */
  drained(): void;
  /** The stream is over: answered, reset by either side, or gone with its connection. Called once. */
  closed(): void;
}

/** The connection of a stream. */
export interface StreamConnection {
  readonly socket: Socket;
  respond(stream: Http2Stream, block: Uint8Array, isLast: boolean): void;
  write(stream: Http2Stream, bytes: Uint8Array): boolean;
  end(stream: Http2Stream, trailers: Uint8Array | undefined): void;
  answer(stream: Http2Stream, block: Uint8Array, message: Uint8Array, trailers: Uint8Array): void;
  reset(stream: Http2Stream, code: ErrorCode): void;
  resume(stream: Http2Stream): void;
  /** So many messages came whole: each pays for some tiny pieces, and for control frames about it. */
  messagesCame(count: number): void;
}

/** Waits for the client's windows. */
interface Waiting {
  readonly bytes: Uint8Array;
  sent: number;
}

/** One request and its answer (RFC 9113, section 5.1). Everything that is written to a stream that is over is dropped. */
export class Http2Stream {
  readonly id: number;
  readonly connection: StreamConnection;
  readonly head: RequestHead;
  /** Set by `onStream`. Without one the body is dropped. */
  receiver: StreamReceiver | undefined;
  /** @internal The whole request has come. */
  isRemoteEnded = false;
  /** @internal The answer is complete, though a part of it may wait. */
  isAnswered = false;
  /** @internal The end of the answer was sent. */
  isLocalEnded = false;
  isClosed = false;
  /** @internal */
  sendWindow: number;
  /** @internal What the client may still send. */
  receiveWindow = FIRST_WINDOW;
  /** @internal Bytes received that no WINDOW_UPDATE has returned. */
  unacknowledged = 0;
  /** @internal */
  isPaused = false;
  /** @internal Bytes of the body so far. */
  received = 0;
  /** @internal */
  waiting: Waiting[] | undefined;
  /** Bytes that wait for the client's windows. */
  waitingBytes = 0;
  /** @internal */
  trailers: Uint8Array | undefined;
  /** @internal Looks at which the answer was waiting. */
  unreadLooks = 0;

  constructor(connection: StreamConnection, id: number, head: RequestHead, sendWindow: number) {
    this.connection = connection;
    this.id = id;
    this.head = head;
    this.sendWindow = sendWindow;
  }

  /** Begins the answer with a header block, or makes it whole. */
  respond(block: Uint8Array, isLast: boolean): void {
    this.connection.respond(this, block, isLast);
  }

  /** Returns false if much waits for the client; `drained` is called later. The bytes must not be changed afterwards. */
  write(bytes: Uint8Array): boolean {
    return this.connection.write(this, bytes);
  }

  /** Ends the answer, with trailers or without. */
  end(trailers?: Uint8Array): void {
    this.connection.end(this, trailers);
  }

  /** A whole answer of one message. */
  answer(block: Uint8Array, message: Uint8Array, trailers: Uint8Array): void {
    this.connection.answer(this, block, message, trailers);
  }

  /** Ends the stream at once. */
  reset(code: ErrorCode = ErrorCode.internalError): void {
    this.connection.reset(this, code);
  }

  /** Lets the client send one window more at most. */
  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.connection.resume(this);
  }
}
