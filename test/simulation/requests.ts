/** What comes in on a stream, as whoever serves it reads it. */
export class Requests<Message> implements AsyncIterable<Message> {
  #waiting: Message[] = [];
  #end: { readonly error?: Error } | undefined;
  #wake: (() => void) | undefined;

  push(message: Message): void {
    this.#waiting.push(message);
    this.#wake?.();
  }

  /** Nothing more comes; with an error, what waits is lost too. */
  end(error?: Error): void {
    this.#end ??= error === undefined ? {} : { error };
    if (error !== undefined) this.#waiting = [];
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Message> {
    for (;;) {
      const messages = this.#waiting;
      this.#waiting = [];
      yield* messages;
      if (this.#waiting.length > 0) continue;
      if (this.#end?.error !== undefined) throw this.#end.error;
      if (this.#end !== undefined) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
