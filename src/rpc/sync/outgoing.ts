import type { ConnectError } from "@connectrpc/connect";

/** What is to be said on a stream, in order, as fast as it is read. */
export class Outgoing<Message> implements AsyncIterable<Message> {
  readonly #capacity: number;
  readonly #tooFull: () => ConnectError;
  #waiting: Message[] = [];
  #hasEnded = false;
  #error: ConnectError | undefined;
  #wakeReader: (() => void) | undefined;
  #wakeWriter: (() => void) | undefined;

  /** Of more than `capacity` messages that wait to be read the stream is ended, with `tooFull`. */
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

  /** Nothing more, after what waits. */
  end(error?: ConnectError): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#error = error;
    this.#wakeReader?.();
    this.#wakeWriter?.();
  }

  /** Resolves once there is room for answers: whoever does not read is not read from. */
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
