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
 * Detects overload. Node reads every socket with data before it runs anything else, so a call that is read late in such
 * a turn has already waited that long, and so has everything behind it. A burst is let in, a standing queue is not
 * (CoDel, RFC 8289). A connection or an address with no more than its fair share of the turn's time is never refused:
 * one client's flood must not refuse other clients. With connections alone, a client that opens thousands would leave
 * others no share; with addresses alone, a balancer would count as one client. A connection that is the only one with
 * calls is not refused either: only its own calls wait, and the number of calls in progress on one connection bounds
 * them. Known addresses share among themselves, so that a flood from thousands of addresses without a good credential
 * does not shrink their share. This at most doubles the calls of a turn.
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
