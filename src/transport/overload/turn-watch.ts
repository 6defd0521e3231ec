export interface TurnWatchOptions {
  readonly monotonicMs: () => number;
  /** The address that a connection comes from. */
  readonly addressOf: (connection: object) => string;
  /** Whether a good credential came from that address lately. */
  readonly isKnown: (address: string) => boolean;
  /** Milliseconds that a turn of the event loop may bring calls. */
  readonly mostTurnMs: number;
  /**
   * Calls that may come later than that: a burst. There can be the next one after so many milliseconds without; and who
   * has brought all calls for as long is alone.
   */
  readonly burstCalls: number;
  readonly burstApartMs: number;
}

/**
 * Detects overload: more calls at once than one turn of the event loop answers in time. A connection or an address with
 * at most its fair share is never refused, and neither is the only caller. Known addresses share among themselves, which
 * at most doubles the calls of a turn. Why: docs/decisions/0021-refuse-when-overloaded.md.
 */
export class TurnWatch {
  readonly #options: TurnWatchOptions;
  readonly #callsFrom = new Map<object, number>();
  readonly #callsFromAddress = new Map<string, number>();
  /** Addresses of this turn that are known. */
  #known = 0;
  #last: object | undefined;
  /** When a call last came on another connection than the one before. */
  #joinedMs = Number.NEGATIVE_INFINITY;
  #isTurn = false;
  #beganMs = 0;
  #inTime = 0;
  #late = 0;
  #lastLateMs = Number.NEGATIVE_INFINITY;

  constructor(options: TurnWatchOptions) {
    this.#options = options;
  }

  /** To be asked for each call as it comes, with the connection that it comes on. */
  isOver(connection: object, mostTurnMs = this.#options.mostTurnMs): boolean {
    const { monotonicMs, burstCalls, burstApartMs } = this.#options;
    const nowMs = monotonicMs();
    if (!this.#isTurn) this.#begin(nowMs);
    if (connection !== this.#last) {
      this.#last = connection;
      this.#joinedMs = nowMs;
    }
    const own = (this.#callsFrom.get(connection) ?? 0) + 1;
    this.#callsFrom.set(connection, own);
    const address = this.#options.addressOf(connection);
    const ofAddress = (this.#callsFromAddress.get(address) ?? 0) + 1;
    this.#callsFromAddress.set(address, ofAddress);
    if (ofAddress === 1 && this.#options.isKnown(address)) this.#known += 1;
    if (nowMs - this.#beganMs <= mostTurnMs) {
      this.#inTime += 1;
      return false;
    }
    if (nowMs - this.#lastLateMs > burstApartMs) this.#late = 0;
    this.#lastLateMs = nowMs;
    this.#late += 1;
    const isAlone = nowMs - this.#joinedMs > burstApartMs;
    if (isAlone || this.#late <= burstCalls) return false;
    if (own <= this.#inTime / this.#callsFrom.size) return false;
    const sharers = this.#options.isKnown(address) ? Math.max(1, this.#known) : this.#callsFromAddress.size;
    return ofAddress > this.#inTime / sharers;
  }

  #begin(nowMs: number): void {
    this.#isTurn = true;
    this.#beganMs = nowMs;
    this.#inTime = 0;
    setImmediate(() => {
      this.#isTurn = false;
      this.#callsFrom.clear();
      this.#callsFromAddress.clear();
      this.#known = 0;
    });
  }
}
