import { ConnectionError, ErrorCode } from "./frames.ts";

/** Tokens that are spent, earned, and come back with time. */
export class TokenBucket {
  readonly #most: number;
  readonly #perMs: number;
  readonly #monotonicMs: () => number;
  #tokens: number;
  #filledMs: number;

  constructor(most: number, perSecond: number, monotonicMs: () => number) {
    this.#most = most;
    this.#perMs = perSecond / 1000;
    this.#monotonicMs = monotonicMs;
    this.#tokens = most;
    this.#filledMs = monotonicMs();
  }

  /** False if there are not as many. The clock is read only then. */
  spend(tokens: number): boolean {
    this.#tokens -= tokens;
    if (this.#tokens >= 0) return true;
    const nowMs = this.#monotonicMs();
    this.earn((nowMs - this.#filledMs) * this.#perMs);
    this.#filledMs = nowMs;
    return this.#tokens >= 0;
  }

  earn(tokens: number): void {
    this.#tokens = Math.min(this.#most, this.#tokens + tokens);
  }
}

/** A piece of a body below this size costs more to take in than its bytes can pay for. */
const TINY_BYTES = 64;
/** Tiny pieces that a call pays for. */
const PIECES_OF_CALL = 8;
/**
 * Tiny pieces that a message pays for: clients may send its prefix apart, or stream messages of a few bytes, as leases and
 * acknowledgements of `Sync` are. Fewer than an empty message has bytes.
 */
const PIECES_OF_MESSAGE = 3;

/**
 * Counts the tiny pieces of one connection against its calls and messages. HTTP/2 DATA frames and HTTP/1.1 chunks of
 * one byte each cost as much CPU as full ones.
 */
export class PieceCount {
  readonly #most: number;
  #unpaid = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** A call began. */
  payForCall(): void {
    this.#pay(PIECES_OF_CALL);
  }

  /** So many messages came whole. */
  payForMessages(count: number): void {
    this.#pay(count * PIECES_OF_MESSAGE);
  }

  /** Whether a piece of this size is one too many. */
  isFlood(bytes: number): boolean {
    if (bytes < TINY_BYTES) this.#unpaid += 1;
    return this.#unpaid > this.#most;
  }

  #pay(pieces: number): void {
    this.#unpaid = Math.max(0, this.#unpaid - pieces);
  }
}

export interface BudgetLimits {
  /** Bytes a second of frames that belong to no progress: PING, SETTINGS, empty and unknown ones. */
  readonly idleBytesPerSecond: number;
  /** Streams that the client may have reset at once, and a second for long: by itself, or by us for its faults. */
  readonly streamResetBurst: number;
  readonly streamResetRate: number;
  /** DATA frames below 64 bytes beyond eight for each stream and three for each message. */
  readonly mostTinyPieces: number;
}

/** The cost of a frame beside its bytes. */
const FRAME_COST = 64;
/** Seconds of `idleBytesPerSecond` that may be used at once. */
const BURST_SECONDS = 16;
/** Pays for the control frames about one frame of an answer: WINDOW_UPDATE twice, and PING, as gRPC clients measure. */
const ANSWER_EARNS = 3 * (FRAME_COST + 8);
/** Bytes that may come on streams that are over, before their client knows. */
const MOST_LATE_BYTES = 1024 * 1024;

/** The bounds of one connection beside its calls. Each frame is charged as it is read; a breach throws. */
export class ConnectionBudget {
  readonly #idle: TokenBucket;
  readonly #resets: TokenBucket;
  readonly #pieces: PieceCount;
  #lateBytes = 0;

  constructor(limits: BudgetLimits, monotonicMs: () => number) {
    const { idleBytesPerSecond, streamResetBurst, streamResetRate, mostTinyPieces } = limits;
    this.#idle = new TokenBucket(BURST_SECONDS * idleBytesPerSecond, idleBytesPerSecond, monotonicMs);
    this.#resets = new TokenBucket(streamResetBurst, streamResetRate, monotonicMs);
    this.#pieces = new PieceCount(mostTinyPieces);
  }

  /** A frame that brings no call forward, with so many bytes of payload. */
  charge(bytes: number): void {
    if (!this.#idle.spend(FRAME_COST + bytes)) throw tooMuch("too many frames beside calls; send fewer");
  }

  /** A stream is reset, by the client or for a fault of its. */
  reset(): void {
    if (!this.#resets.spend(1)) throw tooMuch("too many streams are reset; cancel fewer");
  }

  /** A part of a body that is not the last. */
  piece(bytes: number): void {
    if (this.#pieces.isFlood(bytes)) throw tooMuch("too many tiny DATA frames; send whole messages");
  }

  callBegan(): void {
    this.#pieces.payForCall();
    this.#idle.earn(ANSWER_EARNS);
  }

  /** So many messages came whole. */
  messagesCame(count: number): void {
    this.#pieces.payForMessages(count);
    this.#idle.earn(count * ANSWER_EARNS);
  }

  /**
   * DATA of so many bytes was sent, which the client may answer with control frames. The end of a message earns in full,
   * however short; other pieces by their bytes, since a client may have messages cut into single bytes.
   */
  sent(bytes: number, isEnd: boolean): void {
    this.#idle.earn(isEnd ? ANSWER_EARNS : Math.min(ANSWER_EARNS, 4 * bytes));
  }

  /** A stream is over, on which the client may have sent so much more before it knows. */
  expectLate(bytes: number): void {
    this.#lateBytes = Math.min(this.#lateBytes + bytes, MOST_LATE_BYTES);
  }

  /** DATA came on a stream that is over. */
  late(bytes: number): void {
    this.piece(bytes);
    this.#lateBytes -= bytes;
    if (this.#lateBytes >= 0) return;
    this.charge(-this.#lateBytes);
    this.#lateBytes = 0;
  }
}

export function tooMuch(message: string): ConnectionError {
  return new ConnectionError(ErrorCode.enhanceYourCalm, message);
}
