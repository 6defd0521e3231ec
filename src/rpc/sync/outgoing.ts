import type { ConnectError } from "@connectrpc/connect";

/** The messages that wait on a stream, in order; the client's speed of reading sets the pace. */
export class Outgoing<Message> implements AsyncIterable<Message> {
  readonly #capacity: number;
  readonly #tooFull: () => ConnectError;
  #waiting: Message[] = [];
  #hasEnded = false;
  #error: ConnectError | undefined;
  #wakeReader: (() => void) | undefined;
  #wakeWriter: (() => void) | undefined;

  /** Ends the stream with `tooFull` once more than `capacity` messages wait to be read. */
  constructor(capacity: number, tooFull: () => ConnectError) {
    this.#capacity = capacity;
    this.#tooFull = tooFull;
  }

  push(message: Message): void {
    if (this.#hasEnded) return;
    if (this.#waiting.length >= this.#capacity) {
      this.#waiting = [];
      this.end(this.#tooFull());
      return;
    }
    this.#waiting.push(message);
    this.#wakeReader?.();
  }

  /** Ends the stream after the messages that wait. */
  end(error?: ConnectError): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#error = error;
    this.#wakeReader?.();
    this.#wakeWriter?.();
  }

  /** Resolves once there is room for answers. Until then the server reads nothing from a client that does not read. */
  async hasRoom(): Promise<void> {
    while (!this.#hasEnded && this.#waiting.length > this.#capacity / 2) {
      await new Promise<void>((resolve) => {
        this.#wakeWriter = resolve;
      });
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Message> {
    for (;;) {
      const messages = this.#waiting;
      this.#waiting = [];
      this.#wakeWriter?.();
      yield* messages;
      if (this.#waiting.length > 0) continue;
      if (this.#error !== undefined) throw this.#error;
      if (this.#hasEnded) return;
      await new Promise<void>((resolve) => {
        this.#wakeReader = resolve;
      });
    }
  }
}
