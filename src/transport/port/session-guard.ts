import { constants, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import { PieceCount } from "../overload/body-budget.ts";
import type { LastingCalls } from "./lasting-calls.ts";

/** Limits of one HTTP/2 connection beside the answers to its calls. */
export interface GuardLimits {
  /** Calls open at once. */
  readonly maxConcurrentStreams: number;
  /** Bytes of one call, in all its frames. */
  readonly callBytes: number;
  /** Bytes a second that belong to no call: control frames, empty ones, and those that mean nothing. */
  readonly idleBytesPerSecond: number;
  /** Milliseconds that an answer may wait for its client to take it; a tenth of a second while this many calls are open. */
  readonly unreadAnswerMs: number;
  readonly mostOpenCalls: number;
  /** Answers that may wait on a connection that takes next to nothing; where there are more, they may for `deafMs` only. */
  readonly mostUnreadAnswers: number;
  readonly deafMs: number;
  /** Tiny pieces of bodies that calls and messages do not account for. */
  readonly mostTinyPieces: number;
  /** Milliseconds that a connection without an open call is kept. */
  readonly idleTimeoutMs: number;
}

/** The open calls of all connections together. */
export interface OpenCalls {
  count: number;
  /** Those that were open at a look. */
  readonly lasting: LastingCalls;
}

/** One connection, for its guard. */
export interface GuardedConnection {
  readonly socket: GuardedSocket;
  readonly address: string;
  readonly calls: OpenCalls;
}

/** Milliseconds between two checks of a connection: a flood is unbounded for as long. */
export const LOOK_MS = 100;
/** Milliseconds that a client may take to hang up, after the request to do so and the end of all its calls. */
const HANG_UP_MS = 2000;
/** Seconds of `idleBytesPerSecond` that a connection may use at once. */
const BURST_SECONDS = 16;
/** A client that takes this much between two checks reads, however slowly: 64 KiB a second. */
const TAKEN_BYTES = (64 * 1024 * LOOK_MS) / 1000;

type GuardedSocket = Pick<Socket, "bytesRead" | "bytesWritten" | "destroy">;

/**
 * Ends a connection that is idle, does not take its answers, or sends more than its calls can need.
 * Why beside Node's own limits: docs/decisions/0008-own-http2-limits.md.
 */
export class SessionGuard {
  readonly session: ServerHttp2Session;
  readonly #socket: GuardedSocket;
  readonly #limits: GuardLimits;
  readonly #calls: OpenCalls;
  readonly #address: string;
  /** The calls, each with the number of looks at which its answer was waiting. A quiet call is not an idle connection. */
  readonly #open = new Map<ServerHttp2Stream, number>();
  #idleLooks = 0;
  #drainLooks = 0;
  #bytesRead = 0;
  #credit: number;
  #isCutOff = false;
  #isDisplaced = false;
  #callCount = 0;
  readonly #pieces: PieceCount;
  #bytesWritten = 0;
  /** Looks in a row at which too many answers waited and next to nothing was taken. */
  #deafLooks = 0;
  /** Looks until it is forgotten that answers were dropped for that. */
  #suspectLooks = 0;

  constructor(session: ServerHttp2Session, { socket, address, calls }: GuardedConnection, limits: GuardLimits) {
    this.session = session;
    this.#socket = socket;
    this.#limits = limits;
    this.#calls = calls;
    this.#address = address;
    this.#credit = BURST_SECONDS * limits.idleBytesPerSecond;
    this.#pieces = new PieceCount(limits.mostTinyPieces);
    const open = this.#open;
    const onClosed = function (this: ServerHttp2Stream) {
      open.delete(this);
      calls.count -= 1;
      calls.lasting.delete(this);
    };
    session.on("stream", (stream) => {
      this.#credit += limits.callBytes;
      this.#idleLooks = 0;
      this.#callCount += 1;
      this.#pieces.call();
      open.set(stream, 0);
      calls.count += 1;
      stream.on("close", onClosed);
    });
  }

  /** A call that goes on and on has sent so much more. As many bytes may be frames' heads and control frames about it. */
  credit(bytes: number): void {
    this.#credit += 2 * bytes;
  }

  /** A piece of a body came, and completed so many messages. */
  piece(bytes: number, messages: number): void {
    if (!this.#isCutOff && this.#pieces.isFlood(bytes, messages)) this.#cutOff();
  }

  get isBusy(): boolean {
    return this.#open.size > 0;
  }

  /** Calls so far. */
  get calls(): number {
    return this.#callCount;
  }

  /** Ends the connection in favour of another one: its client may come back at once. */
  displace(): void {
    this.#isDisplaced = true;
    if (this.session.destroyed) return;
    this.session.goaway(constants.NGHTTP2_NO_ERROR);
    this.session.destroy();
  }

  /** True if it was ended for abuse. */
  get isCutOff(): boolean {
    return this.#isCutOff;
  }

  look(): void {
    this.#countBytes();
    this.#suspectLooks -= 1;
    if (this.#isCutOff || this.#isDisplaced) this.#socket.destroy();
    else if (this.#credit < 0) this.#cutOff();
    else if (this.#open.size > 0) {
      this.#noteLasting();
      this.#dropUnread();
    } else this.#closeIdle();
  }

  /** Instead of `look` while the server drains: Node (26) waits for clients to hang up, and frozen ones never do. */
  lookWhileDraining(): void {
    this.#drainLooks = this.#open.size > 0 ? 0 : this.#drainLooks + 1;
    if (this.#drainLooks * LOOK_MS > HANG_UP_MS) this.#socket.destroy();
  }

  /** Credit does not pile up beyond what all calls that may be open can still send. */
  #countBytes(): void {
    const { idleBytesPerSecond, callBytes, maxConcurrentStreams } = this.#limits;
    const { bytesRead } = this.#socket;
    const most = BURST_SECONDS * idleBytesPerSecond + maxConcurrentStreams * callBytes;
    const earned = this.#credit + (idleBytesPerSecond * LOOK_MS) / 1000;
    this.#credit = Math.min(most, earned - (bytesRead - this.#bytesRead));
    this.#bytesRead = bytesRead;
  }

  /** Answers that wait for their client are for `#dropUnread`. */
  #noteLasting(): void {
    const { lasting } = this.#calls;
    const from = { address: this.#address, connection: this };
    for (const stream of this.#open.keys()) {
      if (stream.writableEnded) lasting.delete(stream);
      else lasting.note(stream, from);
    }
  }

  /**
   * First the call alone: behind a proxy others share its connection. If it stays, nothing at all is being read; and who
   * has gone on calling after many were dropped does not mean to take the next ones either.
   */
  #dropUnread(): void {
    const isDeaf = this.#deafLooks > looks(this.#limits.deafMs);
    const most = this.#mostLooks(isDeaf);
    let [unread, dropped] = [0, 0];
    for (const [stream, looked] of this.#open) {
      if (!stream.writableEnded) continue;
      unread += 1;
      this.#open.set(stream, looked + 1);
      if (looked < most) continue;
      if (looked >= 2 * most || (isDeaf && this.#suspectLooks > 0)) {
        this.#cutOff();
        return;
      }
      dropped += 1;
      stream.close(constants.NGHTTP2_CANCEL);
    }
    if (isDeaf && dropped > 0) this.#suspectLooks = looks(this.#limits.unreadAnswerMs);
    this.#listen(unread);
  }

  #mostLooks(isDeaf: boolean): number {
    const { unreadAnswerMs, mostOpenCalls, deafMs } = this.#limits;
    if (this.#calls.count > mostOpenCalls) return 1;
    return looks(isDeaf ? Math.min(deafMs, unreadAnswerMs) : unreadAnswerMs);
  }

  #listen(unread: number): void {
    const { bytesWritten } = this.#socket;
    const isDeaf = unread > this.#limits.mostUnreadAnswers && bytesWritten - this.#bytesWritten < TAKEN_BYTES;
    this.#deafLooks = isDeaf ? this.#deafLooks + 1 : 0;
    this.#bytesWritten = bytesWritten;
  }

  /** TCP keep-alive finds the peers that are gone. */
  #closeIdle(): void {
    this.#idleLooks += 1;
    const idleMs = this.#idleLooks * LOOK_MS;
    if (idleMs > 2 * this.#limits.idleTimeoutMs) this.#socket.destroy();
    else if (idleMs > this.#limits.idleTimeoutMs) this.session.close();
  }

  /** Node (26) waits until what it was writing is read, for good: the next look does not. */
  #cutOff(): void {
    this.#isCutOff = true;
    if (this.session.destroyed) return;
    this.session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    this.session.destroy();
  }
}

function looks(ms: number): number {
  return Math.ceil(ms / LOOK_MS);
}
