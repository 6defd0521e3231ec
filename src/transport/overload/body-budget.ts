/** The bytes that a connection may use, and is charged, for the bodies of its calls. */
export interface BodyBudget {
  /** Notes bytes that came, or may come, on a connection beyond what a call is allowed: see `Port.budget`. */
  credit(connection: object, bytes: number): void;
  /** Notes a piece of a body, and how many messages it completed. A connection of too many tiny pieces is ended. */
  piece(connection: object, bytes: number, messages: number): void;
}

/** A budget that nothing is charged to. */
export const UNBOUND: BodyBudget = { credit: () => undefined, piece: () => undefined };

/** A piece below this size costs more to take in than its bytes can pay for. */
export const TINY_BYTES = 64;
/**
 * Tiny pieces that each call and each message pays for: clients may send the prefix of a message apart, or stream
 * messages of a few bytes, as leases and acknowledgements of `Sync` are.
 */
const PIECES_EACH = 8;

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
  call(): void {
    this.#pay(1);
  }

  /** Whether these are too many. */
  isFlood(bytes: number, messages: number): boolean {
    if (messages > 0) this.#pay(messages);
    else if (bytes < TINY_BYTES) this.#unpaid += 1;
    return this.#unpaid > this.#most;
  }

  #pay(count: number): void {
    this.#unpaid = Math.max(0, this.#unpaid - count * PIECES_EACH);
  }
}
