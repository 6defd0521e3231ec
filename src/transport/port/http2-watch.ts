import type { Http2Connection } from "../../http2/connection.ts";
import { ErrorCode } from "../../http2/frames.ts";
import type { Http2Stream } from "../../http2/stream.ts";
import type { LastingCalls } from "./lasting-calls.ts";

/** Limits of one HTTP/2 connection that need a clock. Each frame is charged where it is read: see `Http2Limits`. */
export interface WatchLimits {
  /** Milliseconds for the preface, and for the rest of a header block that has begun. */
  readonly headersTimeoutMs: number;
  /** Milliseconds that an answer may wait for its client to take it. */
  readonly unreadAnswerMs: number;
  /**
   * Calls that may stay open, on all connections. A further one is ended after a tenth of a second, or one of an address
   * or a connection with more of them; and an answer may wait no longer. Where a quarter more are open, that is done at
   * once.
   */
  readonly mostOpenCalls: number;
  /** Answers that may wait on a connection that takes next to nothing; where there are more, they may for `deafMs` only. */
  readonly mostUnreadAnswers: number;
  readonly deafMs: number;
  /** Milliseconds that a connection without an open call is kept. */
  readonly idleTimeoutMs: number;
}

/** The open calls of all connections together. */
export interface OpenCalls {
  count: number;
  /** Those that were open at a look. */
  readonly lasting: LastingCalls;
}

/** Milliseconds between two looks at a connection. */
export const LOOK_MS = 100;
/** Milliseconds that a client may take to hang up, after the request to do so and the end of all its calls. */
const HANG_UP_MS = 2000;
/** Milliseconds that a client may take to see the first GOAWAY of a drain. */
const SEE_GOAWAY_MS = 1000;
/** A client that takes this much between two looks reads, however slowly: 64 KiB a second. */
const TAKEN_BYTES = (64 * 1024 * LOOK_MS) / 1000;

/** Ends a connection that is idle, stops in the middle, or does not take its answers. */
export class Http2Watch {
  readonly connection: Http2Connection;
  readonly #address: string;
  readonly #limits: WatchLimits;
  readonly #calls: OpenCalls;
  #idleLooks = 0;
  #seenCalls = 0;
  #midLooks = 0;
  #drainLooks = 0;
  #endedLooks = 0;
  #blockedLooks = 0;
  #bytesWritten = 0;
  /** Looks in a row at which too many answers waited and next to nothing was taken. */
  #deafLooks = 0;
  /** Looks until it is forgotten that answers were dropped for that. */
  #suspectLooks = 0;

  constructor(connection: Http2Connection, address: string, calls: OpenCalls, limits: WatchLimits) {
    this.connection = connection;
    this.#address = address;
    this.#calls = calls;
    this.#limits = limits;
  }

  look(): void {
    const { connection } = this;
    if (connection.isEnded) {
      // Its client has had time to read why.
      this.#endedLooks += 1;
      if (this.#endedLooks > 1) connection.socket.destroy();
      return;
    }
    this.#suspectLooks -= 1;
    if (this.#isStuck()) connection.cutOff("the rest of the request's head did not come in time");
    else if (connection.openStreams > 0) {
      this.#idleLooks = 0;
      this.#noteLasting();
      this.#dropUnread();
    } else this.#closeIdle();
  }

  /** Ends the call, or another one, if more are open than may be. */
  share(stream: Http2Stream): void {
    this.#calls.lasting.note(stream, { address: this.#address, connection: this });
  }

  /** All that are open, answers that wait for their client too: they take as much room. */
  shareAll(): void {
    for (const stream of this.connection.streams) this.share(stream);
  }

  /** Instead of `look` while the server drains. */
  lookWhileDraining(): void {
    const { connection } = this;
    this.#drainLooks += 1;
    if (this.#drainLooks > looks(SEE_GOAWAY_MS)) connection.finishDrain();
    this.#endedLooks = connection.openStreams > 0 ? 0 : this.#endedLooks + 1;
    if (this.#endedLooks > looks(HANG_UP_MS)) connection.socket.destroy();
  }

  #isStuck(): boolean {
    const isMid = !this.connection.isGreeted || this.connection.isMidBlock;
    this.#midLooks = isMid ? this.#midLooks + 1 : 0;
    return this.#midLooks > looks(this.#limits.headersTimeoutMs);
  }

  /** Answers that wait for their client are for `#dropUnread`. */
  #noteLasting(): void {
    for (const stream of this.connection.streams) {
      if (stream.isAnswered) this.#calls.lasting.delete(stream);
      else this.share(stream);
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
    for (const stream of this.connection.streams) {
      if (!stream.isAnswered) continue;
      unread += 1;
      stream.unreadLooks += 1;
      if (stream.unreadLooks <= most) continue;
      if (isDeaf && this.#suspectLooks > 0) {
        this.connection.cutOff("answers are not read; read them, or call less");
        return;
      }
      dropped += 1;
      stream.reset(ErrorCode.cancel);
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
    const { bytesWritten } = this.connection.socket;
    const taken = bytesWritten - this.#bytesWritten;
    this.#bytesWritten = bytesWritten;
    const isDeaf = unread > this.#limits.mostUnreadAnswers && taken < TAKEN_BYTES;
    this.#deafLooks = isDeaf ? this.#deafLooks + 1 : 0;
    // The socket itself is full, so no single stream is to blame.
    this.#blockedLooks = this.connection.isBlocked && taken < TAKEN_BYTES ? this.#blockedLooks + 1 : 0;
    if (this.#blockedLooks > looks(this.#limits.unreadAnswerMs)) {
      this.connection.cutOff("answers are not read; read them, or call less");
    }
  }

  /** TCP keep-alive finds the peers that are gone. */
  #closeIdle(): void {
    const { callCount } = this.connection;
    this.#idleLooks = callCount === this.#seenCalls ? this.#idleLooks + 1 : 0;
    this.#seenCalls = callCount;
    this.#listen(0);
    if (this.#idleLooks > looks(this.#limits.idleTimeoutMs)) this.connection.terminate(ErrorCode.noError);
  }
}

function looks(ms: number): number {
  return Math.ceil(ms / LOOK_MS);
}
